"""The commands about results: ``compare``, ``report``, and ``recommend``, ``export`` of a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.printable import counted, printable_lines

Workers = Annotated[int, typer.Option("--workers", min=0, help="cells at a time; 0: one a core")]
Memory = Annotated[float, typer.Option("--memory", min=0, help="GiB for all cells; 0: most of what is free")]
Run = Annotated[Path, typer.Option("--run", help="folder of a finished run")]


@contextmanager
def told_when_interrupted() -> Iterator[None]:
    """Say on stderr what an interrupt says of itself: Typer would lose it."""
    try:
        yield
    except KeyboardInterrupt as error:
        if str(error):
            typer.echo(printable_lines(error), err=True)
        raise


def compare(
    grid: Annotated[str, typer.Argument(help="the grid as YAML, or the name of one that is shipped")],
    out: Annotated[
        Path, typer.Option("--out", help="folder of the results; an interrupted grid goes on there")
    ],
    dry: Annotated[
        bool, typer.Option("--dry-run", help="say the cells, what is reused and the hours; run nothing")
    ] = False,
    workers: Workers = 0,
    memory: Memory = 0,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:N; empty: as the grid says")
    ] = "",
) -> None:
    """Strategies × attacks × shares × seeds in one table."""
    from common.extras import install, lacks
    from experiments import shipped
    from experiments.compare.command import compare as run_grid
    from experiments.compare.dry import dry_run

    if dry:
        dry_run(shipped.grid(grid), out, Console(), workers, device)
        return
    with told_when_interrupted():
        failed = run_grid(shipped.grid(grid), out, Console(), workers, memory, device)
    numbers = f"Numbers in {out}/results.csv and .parquet"
    try:
        from experiments.report import writing  # noqa: F401
    except ImportError as error:
        if not lacks("report", error):
            raise
        typer.echo(f"{numbers}; for the page and the plots: {install('report')}, then fedsieve report {out}")
    else:
        report(out, images=False)
        typer.echo(f"{numbers}; plots as PNG and SVG: fedsieve report {out}")
    if failed:
        bad = f"{counted(failed, 'cell')} failed"
        typer.echo(f"{bad}; the column `error` of {out}/results.csv says why", err=True)
        raise typer.Exit(1)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a run, or of a comparison")],
    images: Annotated[bool, typer.Option(help="of a comparison: write every plot as PNG and SVG too")] = True,
) -> None:
    """The page of a run; the page, plots and tables of a comparison."""
    from common.extras import needed

    if (folder / "summary.json").is_file() or (folder / "config.yaml").is_file():
        report_run(folder)
        return
    try:
        from experiments.report.tables import terminal
        from experiments.report.writing import write_grid_report

        console = Console()
        with console.status("Drawing"):
            written = write_grid_report(folder, images)
    except ImportError as error:
        raise needed("report", "fedsieve report", error) from error

    for main in written.main:
        console.print(terminal(main, console.width))
    for note in written.notes:
        console.print(note, markup=False)
    plots = f", {counted(len(written.images), 'plot')} in {folder / 'plots'}/" if images else ""
    tables = f"{counted(len(written.tables), 'table')} in {folder / 'tables'}/"
    typer.echo(f"Report in {written.page}{plots}, {tables}")


def report_run(folder: Path) -> None:
    """The page of one run, whatever engine it had; what stands beside it is looked up where its log is."""
    from common.errors import RunError
    from common.extras import install
    from experiments.engines import completed
    from experiments.trained import unfinished

    if not (folder / "summary.json").is_file():
        raise unfinished(folder)
    if not completed(folder):
        raise RunError(f"fedsieve report needs plotly and jinja2: {install('report')}")
    typer.echo(f"Report in {folder / 'report.html'}")


def recommend(
    run: Run,
    history: Annotated[
        str | None, typer.Option("--history", help="item ids of the log, oldest first: 50,181,174")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="take the whole history of this user of the run's log")
    ] = None,
    times: Annotated[
        str | None,
        typer.Option("--times", help="seconds of the items of --history, for a model that reads them"),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="how many items")] = 10,
    with_seen: Annotated[bool, typer.Option("--with-seen", help="also items of the history")] = False,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="--history and --user are numbers from 1, not the log's ids")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Recommend what comes next after a history."""
    from common.errors import ConfigError
    from common.printable import json_text
    from experiments import recommend as made
    from experiments.trained import catalogue, open_run

    if (history is None) == (user is None):
        raise ConfigError("recommend: give either --history or --user")
    trained = open_run(run)
    known = catalogue(trained)
    items = (
        made.parse_history(history, known, numbers)
        if history is not None
        else made.history_of(str(user), known, numbers)
    )
    if history is not None:
        seconds = made.timed(None if times is None else times.split(","), trained, known, items)
    elif times is not None:
        raise ConfigError("--times is for --history; those of --user are in the log")
    else:
        seconds = made.seconds_of(str(user), known, numbers)
    hits = made.best(trained, known, items, top, with_seen, seconds)
    if as_json:
        found = made.as_json(trained, known, items, hits)
        typer.echo(json_text(found, 2))
    else:
        Console().print(made.shown(trained, known, items, hits))


def export(
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="a new folder, or one of an earlier export")],
    form: Annotated[
        str, typer.Option("--format", help="safetensors, or onnx, which is an extra")
    ] = "safetensors",
) -> None:
    """Write the model for use elsewhere, with its architecture and the item names."""
    from experiments.export import export as write
    from experiments.trained import open_run

    written = write(open_run(run), out, form)
    typer.echo(f"{', '.join(path.name for path in written)} in {out}/")
