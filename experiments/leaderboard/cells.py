"""The cells of a protocol in a folder that several machines fill: which are done, failed, in work or open."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from common.config import RunConfig
from common.data import Dataset
from common.errors import FedSieveError
from emulation.targets import with_targets
from experiments.compare.command import Datasets, Planned
from experiments.compare.grid import Cell, expand
from experiments.compare.keys import cell_key
from experiments.compare.labels import data_label
from experiments.compare.results import read_row
from experiments.compare.work import honest_part
from experiments.leaderboard.claims import Claim, Claims
from experiments.leaderboard.protocol import Protocol
from experiments.leaderboard.selection import Chosen, fits
from experiments.pool import Job
from server.records.checkpoint import write_atomically

State = Literal["done", "failed", "in work", "open"]


@dataclass(frozen=True)
class WarmUp(Job):
    """The honest rounds that several cells share."""


@dataclass(frozen=True)
class Plan:
    """Every cell of a protocol.

    absent: label of a log that is not on this machine -> why. warm: key of a cell -> that of the honest
    rounds that it shares; honest: their settings.
    """

    cells: Sequence[Planned]
    absent: Mapping[str, str]
    warm: Mapping[str, str]
    honest: Mapping[str, RunConfig]
    logs: Mapping[str, tuple[Dataset, str]]

    @cached_property
    def labels(self) -> list[Mapping[str, Any]]:
        return [one.labels for one in self.cells]


def plan(protocol: Protocol, needed: Chosen | None) -> Plan:
    """Resolve targets and keys. Raises ConfigError.

    A log that cannot be read is an error if ``needed`` asks for cells of it; None asks for nothing.
    """
    datasets = Datasets()
    found: dict[str, Planned] = {}
    absent: dict[str, FedSieveError] = {}
    warm: dict[str, str] = {}
    honest: dict[str, RunConfig] = {}
    resolved: dict[tuple[str, int], RunConfig] = {}
    for cell in expand(protocol.grid):
        label = data_label(cell.config)
        try:
            if label in absent:
                raise absent[label]
            dataset, digest = datasets.get(cell.config)
        except FedSieveError as error:
            if needed is not None and fits(needed, cell.labels):
                raise
            absent[label] = error
            found[_nameless(cell)] = Planned(_nameless(cell), "", cell.config, cell.labels)
            continue
        group = label, cell.config.seed
        if group not in resolved:  # the targets depend on nothing else in a protocol, and take a while
            resolved[group] = with_targets(cell.config, dataset)
        config = _with_targets_of(resolved[group], cell.config)
        key = cell_key(config, digest)
        found.setdefault(key, Planned(key, digest, config, cell.labels))
        if (quiet := honest_part(config)) is not None:
            warm[key] = f"honest-{cell_key(quiet, digest)}"  # the cell `control` has the same hash
            honest[warm[key]] = quiet
    why = {label: str(error) for label, error in absent.items()}
    return Plan(list(found.values()), why, warm, honest, datasets.logs())


def _nameless(cell: Cell) -> str:
    return "unknown-" + "-".join(str(value) for value in cell.labels.values())


def _with_targets_of(known: RunConfig, config: RunConfig) -> RunConfig:
    attack = config.attack.model_copy(update={"targets": known.attack.targets})
    measured = config.eval.model_copy(update={"targets": known.eval.targets})
    return config.model_copy(update={"attack": attack, "eval": measured})


@dataclass
class Board:
    """``folder`` with the cells of ``plan``.

    cells/KEY: finished, put there whole. work/KEY.g: in the hands of the owner of the claim of that name.
    warmups/KEY: honest rounds, while a cell needs them. failed/KEY.json: the error of the last try.
    """

    folder: Path
    plan: Plan
    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def row(self, key: str) -> dict[str, Any] | None:
        """What a finished cell found."""
        if key not in self._rows and (found := read_row(self.folder / "cells" / key)) is not None:
            self._rows[key] = found
        return self._rows.get(key)

    def done(self) -> set[str]:
        """Keys of the finished cells of this plan."""
        there = _names(self.folder / "cells")
        return {one.key for one in self.plan.cells if one.key in there}

    def errors(self) -> dict[str, str]:
        """By key, why a cell failed."""
        keys = {name.removesuffix(".json") for name in _names(self.folder / "failed")}
        found = {}
        for one in self.plan.cells:
            if one.key in keys:
                found[one.key] = str(
                    json.loads((self.folder / "failed" / f"{one.key}.json").read_bytes())["error"]
                )
        return found

    def others(self) -> int:
        """Finished cells in the folder that this protocol, with this code and these logs, does not have."""
        return len(_names(self.folder / "cells") - {one.key for one in self.plan.cells})

    def states(self, claims: Mapping[str, tuple[int, bool]]) -> dict[str, State]:
        """By key; ``claims`` as :meth:`Claims.held` tells them."""
        done, failed = self.done(), self.errors()
        found: dict[str, State] = {}
        for one in self.plan.cells:
            alive = claims.get(one.key, (0, False))[1]
            found[one.key] = _state(one.key in done, alive, one.key in failed)
        return found

    def free(
        self, chosen: Sequence[Planned], claims: Claims, tried: Container[str]
    ) -> tuple[Job, Claim] | None:
        """The first free cell of ``chosen``, or its warm-up, claimed for this machine; None if none is now.

        A cell waits for its warm-up, whoever trains it. ``tried``: what failed here, and is not tried again.
        """
        done, warmed, held = self.done(), _names(self.folder / "warmups"), claims.held()
        for one in chosen:
            if one.key in done or one.key in tried:
                continue
            warm = self.plan.warm.get(one.key)
            key = one.key if warm is None or warm in warmed or warm in tried else warm
            claim = claims.take(key, held)
            if claim is None:
                continue
            if self._place(claim, key != one.key).exists():  # finished since the folder was looked through
                claims.finish(claim)
                continue
            return self._job(one, claim, key != one.key), claim
        return None

    def _job(self, one: Planned, claim: Claim, is_warm_up: bool) -> Job:
        place = self.folder / "work" / claim.name
        place.parent.mkdir(parents=True, exist_ok=True)
        for generation in range(claim.generation - 1, 0, -1):  # what an earlier owner left is gone on with
            left = place.parent / f"{claim.key}.{generation}"
            if left.exists() and not place.exists():
                left.rename(place)
            shutil.rmtree(left, ignore_errors=True)
        title = one.title([name for name in one.labels if name != "aim"])
        if is_warm_up:
            names = ("data", "model", "aggregator", "malicious_share", "seed")
            return WarmUp(claim.key, f"honest rounds: {one.title(names)}", self.plan.honest[claim.key], place)
        return Job(one.key, title, one.config, place)

    def publish(self, job: Job, claim: Claim) -> bool:
        """Put a finished job where everybody finds it; False if another machine has taken it over.

        Of two the first stays: they are the same.
        """
        place = self._place(claim, isinstance(job, WarmUp))
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            job.folder.rename(place)
        except OSError:
            if job.folder.exists() and not place.exists():
                raise
            shutil.rmtree(job.folder, ignore_errors=True)
        (self.folder / "failed" / f"{job.key}.json").unlink(missing_ok=True)
        return place.exists()

    def fail(self, job: Job, error: str) -> None:
        """Keep why a job failed."""
        path = self.folder / "failed" / f"{job.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"error": error, "title": job.title}).encode())

    def tidy(self) -> None:
        """Remove honest rounds that no open cell needs any more, and what is left of work on done cells."""
        done = self.done()
        needed = {warm for key, warm in self.plan.warm.items() if key not in done}
        for name in _names(self.folder / "warmups") & self.plan.honest.keys() - needed:
            shutil.rmtree(self.folder / "warmups" / name, ignore_errors=True)
        for name in _names(self.folder / "work"):
            if name.rpartition(".")[0] in done:
                shutil.rmtree(self.folder / "work" / name, ignore_errors=True)

    def rows(self) -> list[dict[str, Any]]:
        """A row of every cell that is done or failed, as ``fedsieve compare`` writes them."""
        errors, done, found = self.errors(), self.done(), []
        for one in self.plan.cells:
            head = {"cell": one.key, **one.labels, "rule": one.config.strategy.aggregator.name}
            if one.key in done and (row := self.row(one.key)) is not None:
                found.append({**head, "status": "done", "error": None, **row})
            elif one.key in errors:
                found.append({**head, "status": "failed", "error": errors[one.key]})
        return found

    def _place(self, claim: Claim, is_warm_up: bool) -> Path:
        return self.folder / ("warmups" if is_warm_up else "cells") / claim.key


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except FileNotFoundError:
        return set()


def _state(done: bool, alive: bool, failed: bool) -> State:
    if done:
        return "done"
    if alive:  # also one that failed before
        return "in work"
    return "failed" if failed else "open"
