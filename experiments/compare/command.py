"""``fedsieve compare``: what a grid will compute, what of it is still missing, and its tables."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from common.config import RunConfig
from common.data import Dataset, content_digest
from common.device import resolve
from common.errors import ConfigError, RunError
from common.machine import available_mib, cores
from common.printable import counted
from emulation.federation import open_log
from emulation.targets import with_targets
from experiments.compare.display import Display, Remaining, Stretch
from experiments.compare.grid import Cell, GridConfig, expand, read_grid
from experiments.compare.keys import cell_key
from experiments.compare.labels import data_label
from experiments.compare.results import keep_floors, read_row, write_results
from experiments.compare.work import CellWork, honest_part, is_ready, tidy, train_warm_up
from experiments.main_module import needed_main
from experiments.pool import Event, Job, Pool
from experiments.units import share_text
from server.records.begun import GRID, PAGE, RECIPE
from server.records.checkpoint import write_atomically
from server.records.holding import hold

REFRESH_S = 10.0
"""Seconds between two writings of the tables while a grid runs; what is killed has tables to report on."""
ENDED = ("done", "failed")
MARGIN = 0.8
"""Share of the free memory that a grid uses unless told otherwise."""


OTHERS = {"config.yaml": "a run", RECIPE: "a centralised run", PAGE: "a leaderboard"}
"""Files that a folder of something else has."""

NAMED = ("data", "model", "aggregator", "attack", "malicious_share", "seed")


@dataclass(frozen=True)
class Planned:
    """A cell with its resolved targets, its key and the digest of its log."""

    key: str
    data: str
    config: RunConfig
    labels: Mapping[str, Any]

    def title(self, names: Iterable[str]) -> str:
        """The labels called ``names`` in a few words."""
        shown = {"malicious_share": share_text, "seed": "seed {}".format}
        return " · ".join(shown.get(name, str)(self.labels[name]) for name in names)


class Datasets:
    """Every log of a grid, read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, Dataset, str]] = {}

    def get(self, config: RunConfig) -> tuple[Dataset, str]:
        """The log of a config and its digest."""
        label = data_label(config)  # it says how the log is split, too
        key = config.data.model_dump_json(), label  # JSON: the section holds a mapping, which is no key
        if key not in self._known:
            dataset = open_log(config)
            self._known[key] = label, dataset, content_digest(dataset)
        _, dataset, digest = self._known[key]
        return dataset, digest

    def logs(self) -> dict[str, tuple[Dataset, str]]:
        """Every log that was asked for and its digest, by its label."""
        return {label: (dataset, digest) for label, dataset, digest in self._known.values()}


def plan(cells: Iterable[Cell], datasets: Datasets) -> list[Planned]:
    """Cells with their targets resolved; of two that are the same computation the first stays.

    Raises ConfigError for two that no table could tell apart.
    """
    found: dict[str, Planned] = {}
    names: dict[tuple[str, ...], str] = {}
    for cell in cells:
        dataset, digest = datasets.get(cell.config)
        config = with_targets(cell.config, dataset)
        key = cell_key(config, digest)
        one = found.setdefault(key, Planned(key, digest, config, cell.labels))
        told = *cell.labels.values(), config.train.rounds, config.train.devices_per_round
        told = *told, config.attack.start_round  # what a report tells cells apart by
        if names.setdefault(tuple(map(str, told)), key) != key:
            raise ConfigError(
                f"the grid has two cells called {one.title(NAMED)}, and no table shows in which settings "
                "they differ; name such a setting under `vary`, or give each strategy a label of its own"
            )
    if not found:
        raise ConfigError("the grid has no cells: one of its lists is empty")
    return list(found.values())


def compare(
    of: Path | GridConfig,
    out: Path,
    console: Console,
    workers: int = 0,
    memory_gb: float = 0.0,
    device: str = "",
) -> int:
    """Run a grid, in a file or made by :func:`grid_of`, into ``out``; returns how many cells failed.

    What ``out`` already holds of it is not computed again: a cell is known by a hash of its settings, its
    data and the code. ``device`` is where all cells run, whatever the grid says. Raises ConfigError for a
    wrong grid or device, RunError when ``out`` cannot be written, and KeyboardInterrupt that says how many
    cells are done.
    """
    grid, name, datasets, planned = opened(of, device)
    lock = hold(out)  # a second comparison would take the cells of the first for left-overs
    try:
        return _run(grid, name, datasets, planned, out, console, workers, memory_gb)
    finally:
        lock.release()


def _run(
    grid: GridConfig,
    name: str,
    datasets: Datasets,
    planned: Sequence[Planned],
    out: Path,
    console: Console,
    workers: int,
    memory_gb: float,
) -> int:
    for file, what in OTHERS.items():
        if (out / file).exists():
            raise RunError(f"{out} holds {what}; choose another folder (--out)")
    write_atomically(out / GRID, yaml.safe_dump(grid.model_dump(mode="json"), sort_keys=False).encode())
    keep_floors(out, datasets.logs())
    memory_mb = memory_gb * 1024 or MARGIN * available_mib()
    pool = Pool(workers or cores(), memory_mb, main=needed_main())
    light = grid.keep == "results"
    missing = []
    for one in planned:
        if read_row(out / "cells" / one.key) is None:
            missing.append(one)
        else:
            tidy(out / "cells" / one.key, light)  # it may have been stopped in the middle of that
    console.print(
        f"{name}: {counted(len(planned), 'cell')}, {len(planned) - len(missing)} of them already in {out}/; "
        f"{pool.workers} at a time"
    )
    telling = [n for n in planned[0].labels if len({str(p.labels[n]) for p in planned}) > 1]
    jobs = [Job(p.key, p.title(telling), p.config, out / "cells" / p.key) for p in missing]
    errors: dict[str, str] = {}
    shared, warm_ups = shared_rounds(missing, out)
    remaining = Remaining(stretches(jobs, shared, warm_ups))
    written = 0.0
    try:
        with (
            Display(console, len(planned), len(planned) - len(missing), remaining) as display,
            closing(pool.run(warm_ups, train_warm_up)) as warmed,
            closing(pool.run(jobs, CellWork(shared, light))) as events,
        ):
            for event in warmed:
                (display.running if event.kind in ("started", "round") else display.warmed)(event)
            for event in events:
                _tell(event, display, errors)
                if event.kind in ENDED and time.monotonic() - written > REFRESH_S:
                    write_results(out, _rows(planned, out, errors))
                    written = time.monotonic()
    except KeyboardInterrupt:
        done = sum(read_row(out / "cells" / one.key) is not None for one in planned)
        told = f"{done} of {counted(len(planned), 'cell')} {'is' if done == 1 else 'are'} done"
        raise KeyboardInterrupt(f"{told} in {out}; the same command goes on with the others") from None
    finally:
        write_results(out, _rows(planned, out, errors))
    return len(errors)


def opened(of: Path | GridConfig, device: str) -> tuple[GridConfig, str, Datasets, list[Planned]]:
    """The grid and its name, its logs and its cells, once each is checked. Raises ConfigError."""
    grid, name = (read_grid(of), of.name) if isinstance(of, Path) else (of, "grid")
    if device:
        grid = grid.model_copy(update={"set": {**grid.set, "device": device}})
    datasets = Datasets()
    planned = plan(expand(grid), datasets)
    for wanted in {one.config.device for one in planned}:
        resolve(wanted, "--device" if device else "device")
    return grid, name, datasets, planned


def _tell(event: Event, display: Display, errors: dict[str, str]) -> None:
    if event.kind in ("started", "round"):
        display.running(event)
        return
    if event.kind == "failed":
        errors[event.job.key] = event.text
    display.ended(event, read_row(event.job.folder) if event.kind == "done" else None)


def shared_rounds(missing: Sequence[Planned], out: Path) -> tuple[dict[str, Path], list[Job]]:
    """Honest rounds that two or more missing cells share: their folder by the cell's key, those to train."""
    users: dict[str, list[Planned]] = {}
    configs: dict[str, RunConfig] = {}
    for one in missing:
        if (honest := honest_part(one.config)) is not None:
            key = cell_key(honest, one.data)
            users.setdefault(key, []).append(one)
            configs[key] = honest
    shared = {key: out / "warmups" / key for key, found in users.items() if len(found) > 1}
    jobs = [
        Job(key, _told(users[key]), configs[key], folder)
        for key, folder in shared.items()
        if not is_ready(folder)
    ]
    return {one.key: folder for key, folder in shared.items() for one in users[key]}, jobs


def stretches(cells: Sequence[Job], shared: Container[str], warm_ups: Sequence[Job]) -> dict[str, Stretch]:
    """The rounds that every job does by itself."""
    found = {}
    for job in cells:
        first = job.config.attack.start_round if job.key in shared else 1
        found[job.key] = Stretch(first, job.config.train.rounds, job.config.train.devices_per_round)
    for job in warm_ups:
        last = job.config.checkpoint_every  # there it stops
        found[job.key] = Stretch(1, last, job.config.train.devices_per_round)
    return found


def _told(users: Sequence[Planned]) -> str:
    names = ("data", "aggregator", "malicious_share", "seed")
    return f"warm-up for {len(users)} cells: {users[0].title(names)}"


def _rows(planned: Sequence[Planned], out: Path, errors: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for one in planned:
        head = {"cell": one.key, **one.labels, "rule": one.config.strategy.aggregator.name}
        found = read_row(out / "cells" / one.key)
        if found is not None:
            rows.append({**head, "status": "done", "error": None, **found})
        elif one.key in errors:
            rows.append({**head, "status": "failed", "error": errors[one.key]})
    return rows
