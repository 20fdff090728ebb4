"""A small protocol over the made-up log, and rows as runs of it would leave them, without running any."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import yaml

from experiments.compare.command import Planned
from experiments.leaderboard.cells import Board, plan
from experiments.leaderboard.protocol import Protocol, read_protocol
from experiments.pool import Event, Job, Notes, Pool, Work
from tests.experiments.compare.samples import SETTINGS
from tests.experiments.report.samples import row as made_up

SHORT = {**SETTINGS, "train.rounds": 6, "attack.start_round": 4, "eval.every": 0}
SHORT.pop("strategy.secret")


def protocol_file(folder: Path, **changes: Any) -> Path:
    """A protocol with two rules, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text("seed: 0\n")
    tree = {
        "version": 3,
        "title": "Small",
        "configs": ["base.yaml"],
        "strategies": ["mean", "median"],
        "attacks": ["control", "parity", "label_to_target", "sign_flip"],
        "shares": [0.3],
        "seeds": [0, 1],
        "set": SHORT,
        "minutes": {"synthetic": 2},
        **changes,
    }
    path = folder / "small.yaml"
    own = path.with_suffix(f".{os.getpid()}")  # another process may write it, or read it, just then
    own.write_text(yaml.safe_dump(tree))
    own.replace(path)
    return path


def board(folder: Path, added: Iterable[str] = (), **changes: Any) -> tuple[Protocol, Board]:
    """The protocol of :func:`protocol_file` and its board in ``folder``/out."""
    found = read_protocol(str(protocol_file(folder, **changes)), list(added))
    return found, Board(folder / "out", plan(found, {}))


def result(one: Planned, **changes: Any) -> dict[str, Any]:
    """The row of a finished cell: the mean breaks, the median does not learn."""
    labels = one.labels
    found = made_up(
        *(labels[n] for n in ("data", "model", "aggregator", "attack", "malicious_share", "seed"))
    )
    left_out = {"cell", "data", "model", "aggregator", "attack", "malicious_share", "seed", "status", "error"}
    kept = {name: value for name, value in found.items() if name not in left_out and value is not None}
    return {**kept, "server_seconds": 0.002, **changes}


def finish(of: Board, cells: Iterable[Planned], **changes: Any) -> None:
    """Put results of cells where finished ones are."""
    for one in cells:
        place = of.folder / "cells" / one.key
        place.mkdir(parents=True, exist_ok=True)
        (place / "row.json").write_text(json.dumps(result(one, **changes)))


class Here(Pool):
    """A pool that does one job after the other in this process, and tells what a pool tells."""

    def run(self, jobs: Iterable[Job], work: Work) -> Generator[Event, None, None]:
        waiting = iter(jobs)
        while (job := next(waiting, None)) is not None:
            yield Event("started", job)
            try:
                work(job, Notes(cast(Connection, Deaf())))
            except Exception as error:
                yield Event("failed", job, text=str(error))
            else:
                yield Event("done", job)


class Deaf:
    """A pipe to nobody."""

    def send(self, what: object) -> None:
        pass
