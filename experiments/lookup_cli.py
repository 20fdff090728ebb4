"""``fedsieve list`` and ``check``: names that settings take, and whether a component keeps its promises."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from common.printable import json_text, printable_lines
from experiments.units import listing


def list_(
    what: Annotated[
        str, typer.Argument(help="aggregators, attacks, models, …; alone: what there is")
    ] = "all",
    name: Annotated[str, typer.Argument(help="one of them: all that is known of it")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Names that the settings take."""
    from experiments.catalogue import card, entries, entry, table

    found = entry(what, name) if name else entries(what)
    if as_json:
        typer.echo(json_text(found, 2))
    elif isinstance(found, dict):
        Console().print(card(found))
    else:
        listing().print(table(what, found))
        more = "What there is of a kind: fedsieve list KIND"
        if what != "all":
            more = f"Parameters, source, …: fedsieve list {what} NAME, or --json"
        typer.echo(more)


def check(
    name: Annotated[str, typer.Argument(help="my_package.rules:Mine, or a registered name")],
    kind: Annotated[str, typer.Option(help="aggregator, attack, model, …; else found out")] = "",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a parameter of the component")
    ] = None,
) -> None:
    """Whether a rule, attack, model, … keeps the promises of its kind; status 1 if not."""
    from common.settings import key_values
    from experiments.contracts import examine, kind_of

    kind = kind or kind_of(name)
    found = examine(kind, name, key_values(overrides or []))
    for finding in found:
        typer.echo(printable_lines(f"{'FAILS' if finding.problem else 'ok':<5}  {finding.promise}"))
        if finding.problem:
            typer.echo(printable_lines(f"       {finding.problem}"))
    failed = sum(bool(finding.problem) for finding in found)
    typer.echo(f"{name} ({kind}): {len(found) - failed} of {len(found)} promises kept")
    if failed:
        raise typer.Exit(1)
