"""``fedsieve compare``: the door to grids of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def compare(
    grid: Annotated[Path, typer.Argument(help="the grid as YAML; configs/compare/ has some")],
    out: Annotated[
        Path, typer.Option("--out", help="folder of the results; an interrupted grid goes on there")
    ],
    workers: Annotated[int, typer.Option("--workers", min=0, help="cells at a time; 0: one a core")] = 0,
    memory: Annotated[
        float, typer.Option("--memory", min=0, help="GiB for all cells; 0: most of what is free")
    ] = 0,
) -> None:
    """Strategies × attacks × shares × seeds in one table."""
    from experiments.compare.command import compare as run_grid

    console = Console()
    if failed := run_grid(grid, out, console, workers, memory):
        console.print(f"{failed} cells failed; the column `error` of {out}/results.csv says why")
        raise typer.Exit(1)
    console.print(f"Results in {out}/ (results.csv, results.parquet, cells/)")
