"""``fedsieve compare``: run what a grid still lacks, and write its tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from common.config import DataConfig, RunConfig
from common.data import Dataset
from common.errors import ConfigError, RunError
from experiments.compare.display import Display
from experiments.compare.grid import Cell, expand, read_grid
from experiments.compare.keys import cell_key, data_digest
from experiments.compare.labels import data_label
from experiments.compare.results import read_row, write_results
from experiments.compare.warmup import honest_part, is_ready
from experiments.compare.work import CellWork, train_warm_up
from experiments.emulation import open_log, with_targets
from experiments.floors import floors
from experiments.pool import Job, Pool, available_mb, cores
from server.checkpoint import write_atomically

MARGIN = 0.8
"""Share of the free memory that a grid uses unless told otherwise."""


@dataclass(frozen=True)
class Planned:
    """A cell with its resolved targets and its key."""

    key: str
    config: RunConfig
    labels: Mapping[str, Any]

    def title(self, names: Iterable[str]) -> str:
        """The labels called ``names`` in a few words."""
        shown = {"malicious_share": "{:.0%}", "seed": "seed {}"}
        return " · ".join(shown.get(name, "{}").format(self.labels[name]) for name in names)


def compare(path: Path, out: Path, console: Console, workers: int = 0, memory_gb: float = 0.0) -> int:
    """Run the grid in ``path`` into ``out``; returns how many cells failed.

    What ``out`` already holds of it is not computed again: a cell is known by a hash of its settings, its
    data and the code. Raises ConfigError for a wrong grid, RunError when ``out`` cannot be written.
    """
    grid = read_grid(path)
    datasets = Datasets()
    planned = plan(expand(grid), datasets)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--out {out}: {error.strerror}") from error
    write_atomically(
        out / "grid.yaml", yaml.safe_dump(grid.model_dump(mode="json"), sort_keys=False).encode()
    )
    write_atomically(out / "floors.json", json.dumps(datasets.floors(), indent=2).encode())
    pool = Pool(workers or cores(), memory_gb * 1024 or MARGIN * available_mb())
    missing = [p for p in planned if read_row(out / "cells" / p.key) is None]
    console.print(
        f"{path.name}: {len(planned)} cells, {len(planned) - len(missing)} of them already in {out}/; "
        f"{pool.workers} at a time"
    )
    errors: dict[str, str] = {}
    with Display(console, len(planned), len(planned) - len(missing)) as display:
        telling = [n for n in planned[0].labels if len({str(p.labels[n]) for p in planned}) > 1]
        shared = _warm_ups(missing, out, pool, display)
        jobs = [Job(p.key, p.title(telling), p.config, out / "cells" / p.key) for p in missing]
        try:
            for event in pool.run(jobs, CellWork(shared, grid.keep == "results")):
                if event.kind in ("started", "round"):
                    display.running(event)
                    continue
                if event.kind == "failed":
                    errors[event.job.key] = event.text
                display.ended(event, read_row(event.job.folder) if event.kind == "done" else None)
        finally:
            write_results(out, _rows(planned, out, errors))
    return len(errors)


class Datasets:
    """Every log of a grid, read once."""

    def __init__(self) -> None:
        self._known: dict[DataConfig, tuple[Dataset, str]] = {}

    def get(self, config: RunConfig) -> tuple[Dataset, str]:
        """The log of a config and its digest."""
        if config.data not in self._known:
            dataset = open_log(config)
            self._known[config.data] = dataset, data_digest(dataset)
        return self._known[config.data]

    def floors(self) -> dict[str, dict[str, dict[str, float]]]:
        """Popularity and Markov-1 of every log that was asked for, by its label."""
        return {data_label(data): floors(dataset) for data, (dataset, _) in self._known.items()}


def plan(cells: Iterable[Cell], datasets: Datasets) -> list[Planned]:
    """Cells with their targets resolved; of two that are the same computation the first stays."""
    found: dict[str, Planned] = {}
    for cell in cells:
        dataset, digest = datasets.get(cell.config)
        config = with_targets(cell.config, dataset)
        key = cell_key(config, digest)
        found.setdefault(key, Planned(key, config, cell.labels))
    if not found:
        raise ConfigError("the grid has no cells: one of its lists is empty")
    return list(found.values())


def _warm_ups(missing: Sequence[Planned], out: Path, pool: Pool, display: Display) -> dict[str, Path]:
    """Train the honest rounds that two or more missing cells share; folder by the cell's key."""
    users: dict[str, list[Planned]] = {}
    configs: dict[str, RunConfig] = {}
    for one in missing:
        if (honest := honest_part(one.config)) is not None:
            key = cell_key(honest, "warm-up")
            users.setdefault(key, []).append(one)
            configs[key] = honest
    shared = {key: out / "warmups" / key for key, found in users.items() if len(found) > 1}
    jobs = [
        Job(key, _told(users[key]), configs[key], folder)
        for key, folder in shared.items()
        if not is_ready(folder)
    ]
    for event in pool.run(jobs, train_warm_up):
        (display.running if event.kind in ("started", "round") else display.warmed)(event)
    return {one.key: folder for key, folder in shared.items() for one in users[key]}


def _told(users: Sequence[Planned]) -> str:
    names = ("data", "aggregator", "malicious_share", "seed")
    return f"warm-up for {len(users)} cells: {users[0].title(names)}"


def _rows(planned: Sequence[Planned], out: Path, errors: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for one in planned:
        head = {"cell": one.key, **one.labels}
        found = read_row(out / "cells" / one.key)
        if found is not None:
            rows.append({**head, "status": "done", "error": None, **found})
        elif one.key in errors:
            rows.append({**head, "status": "failed", "error": errors[one.key]})
    return rows
