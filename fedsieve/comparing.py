"""Grids of runs: strategies × attacks × shares × seeds in one table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console

from common.errors import RunError
from common.printable import counted
from experiments.compare.command import compare as run_grid
from experiments.compare.grid import grid_of
from experiments.main_module import refuse_in_worker
from experiments.report.writing import write_grid_report
from fedsieve.settings import path_of, plain

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """The results of a grid; :func:`fedsieve.compare` makes it.

    Parameters
    ----------
    folder
        Where the tables, the page and a folder for each run lie.
    """

    folder: Path

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row a run: what it is (``aggregator``, ``attack``, ``malicious_share``, ``seed``, …),
        ``status`` and ``error``, metrics (``test.ndcg@10``, ``er@10``), mean weights and costs.

        Raises RunError where the file is gone.
        """
        path = self.folder / "results.parquet"
        try:
            return pl.read_parquet(path.read_bytes())  # a path with [ ] would be read as a pattern
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RunError(f"cannot read {path}: {error}") from error

    @property
    def report(self) -> Path:
        """``report.html``: tables, curves and maps."""
        return self.folder / "report.html"

    def plot(self) -> go.Figure:
        """Strategy × attack as a Plotly figure: NDCG@10 (of the clean plain mean's, where it was run), and
        ER@10 beside it where items are targeted. Means over seeds; blue is good.

        Raises RunError where no run has finished.
        """
        from fedsieve.drawing import maps

        return maps(self.folder)

    def __repr__(self) -> str:
        failed = self.frame.filter(pl.col("status") == "failed").height
        bad = f", {failed} failed (column error)" if failed else ""
        return f"Comparison({counted(self.frame.height, 'run')}{bad})\n  {self.folder}"

    def _repr_html_(self) -> str:
        names = ("data", "model", "aggregator", "attack", "malicious_share", "seed", "test.ndcg@10", "er@10")
        shown = self.frame.select([name for name in names if name in self.frame.columns])
        return str(shown._repr_html_())


def compare(
    grid: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    workers: int = 0,
    memory_gb: float = 0.0,
    progress: bool = True,
) -> Comparison:
    """Run every combination of a grid, each in a process of its own, and write tables and a page.

    Runs that ``out`` already holds are not computed again. In a script that registers components, call this
    under ``if __name__ == "__main__":``: the processes import the script, to know them too.

    Parameters
    ----------
    grid
        A YAML file (``configs/compare/``), or what one says as a mapping: ``strategies``, ``attacks``,
        ``shares``, ``targets``, ``seeds``, ``models``, ``set`` (settings of every run by dotted name),
        ``vary`` (more axes), ``configs`` (YAML files of settings, relative to the working folder).
    out
        Folder of the results.
    workers
        Runs at a time; 0 is one a core.
    memory_gb
        Memory for all runs in GiB; 0 is most of what is free.
    progress
        Show the runs on a terminal and in a notebook.

    Returns
    -------
    Comparison
        Frame, plot and page. A run that failed is a row with an ``error``.

    Raises
    ------
    ConfigError
        The grid has an unknown key, name or setting.
    RunError
        ``out`` cannot be written; every run failed (with the first error); or the script is being imported
        by one of the processes.
    """
    refuse_in_worker("fedsieve.compare")
    folder = path_of(out, "out")
    what = grid_of(plain(grid), "grid", Path.cwd()) if isinstance(grid, Mapping) else path_of(grid, "grid")
    console = Console()
    console.quiet = not progress or not (console.is_terminal or console.is_jupyter)
    run_grid(what, folder, console, workers, memory_gb)
    write_grid_report(folder, images=False)
    found = Comparison(folder)
    if set(found.frame["status"]) == {"failed"}:
        count, first = found.frame.height, found.frame["error"][0]
        raise RunError(f"no run of {folder} ended ({count} failed); the first: {first}")
    return found
