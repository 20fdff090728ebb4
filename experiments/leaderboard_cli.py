"""``fedsieve leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.errors import ConfigError
from common.printable import counted
from experiments.results_cli import Memory, Workers, told_when_interrupted
from server.records.holding import FolderInUse


def leaderboard(
    protocol: Annotated[
        str,
        typer.Argument(
            help="v1, the name of a shipped protocol, or one of your own as YAML (docs/guides/leaderboard.md)"
        ),
    ] = "v1",
    out: Annotated[
        Path, typer.Option("--out", help="folder of the cells; several machines may fill one at once")
    ] = Path("runs/leaderboard"),
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="RULE", help="a rule of yours: my_package.rules:Mine")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="KEY=VALUE,…",
            help="compute these alone: data, model, rule, attack, share, seed",
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", "--dry-run", help="say what is done and open, and how long it takes")
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", help="write the page of what is there; compute nothing")
    ] = False,
    workers: Workers = 0,
    memory: Memory = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")] = "",
    patience: Annotated[
        float, typer.Option("--patience", min=1, help="seconds until a silent machine's cells are taken over")
    ] = 300,
) -> None:
    """Every rule under the attacks of a fixed protocol: worst case, mean, cost, and places."""
    from common.extras import needed
    from experiments.leaderboard import command
    from experiments.leaderboard.kept import check_kept
    from experiments.leaderboard.protocol import read_protocol

    found = read_protocol(protocol, add or [])
    if not list_:
        check_kept(out, found)
    options = command.Options(out, workers, memory, device, patience)
    console = Console()
    with console.status("Planning the cells"):
        board, mine = command.opened(found, only or [], options, not (list_ or page))
    try:
        from experiments.leaderboard.page import measured, write_page
        from experiments.report.tables import terminal

        if list_:
            table, told = command.overview(found, board, mine, options)
            console.print(terminal(table, console.width))
            typer.echo(told)
            return
        command.made(options)
        with told_when_interrupted():
            failed = 0 if page else command.compute(found, board, mine, options, console)
        try:
            known = measured(found, board, board.states(command.held(options)))
            told = f"Leaderboard in {write_page(board, known)}, numbers in {out}/results.csv"
        except (ConfigError, FolderInUse) as error:
            if page:
                raise
            # Another machine's page has more rules and came meanwhile, or it is being written
            told = f"The cells are done, and the page that is there stays: {error}"
    except ImportError as error:
        raise needed("report", "fedsieve leaderboard", error) from error
    typer.echo(told)
    if failed:
        typer.echo(
            f"{counted(failed, 'cell')} failed; the page says why, and the same command tries again", err=True
        )
        raise typer.Exit(1)
