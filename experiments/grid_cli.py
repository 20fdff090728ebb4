"""``fedsieve compare`` and ``fedsieve report``: the doors to grids of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def compare(
    grid: Annotated[str, typer.Argument(help="the grid as YAML, or the name of one that is shipped")],
    out: Annotated[
        Path, typer.Option("--out", help="folder of the results; an interrupted grid goes on there")
    ],
    workers: Annotated[int, typer.Option("--workers", min=0, help="cells at a time; 0: one a core")] = 0,
    memory: Annotated[
        float, typer.Option("--memory", min=0, help="GiB for all cells; 0: most of what is free")
    ] = 0,
) -> None:
    """Strategies × attacks × shares × seeds in one table."""
    from common.extras import install, lacks
    from experiments import shipped
    from experiments.compare.command import compare as run_grid

    failed = run_grid(shipped.grid(grid), out, Console(), workers, memory)
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
        typer.echo(f"{failed} cells failed; the column `error` of {out}/results.csv says why", err=True)
        raise typer.Exit(1)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder that fedsieve compare wrote")],
    images: Annotated[bool, typer.Option(help="write every plot as PNG and SVG too")] = True,
) -> None:
    """The page, plots and tables of a comparison."""
    from common.extras import needed

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
    plots = f", {len(written.images)} plots in {folder / 'plots'}/" if images else ""
    typer.echo(f"Report in {written.page}{plots}, {len(written.tables)} tables in {folder / 'tables'}/")
