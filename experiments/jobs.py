"""A job of the pool, and what is told about it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from common.config import RunConfig
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState


@dataclass(frozen=True)
class Job:
    """``config`` to be run into ``folder``; ``title`` is shown, ``key`` is told with every event."""

    key: str
    title: str
    config: RunConfig
    folder: Path


Work = Callable[[Job, "Notes"], None]
"""What a process does with its job: a function of a module's top level."""


@dataclass(frozen=True)
class Event:
    """What happened to a job: ``started``, ``round``, ``done`` or ``failed``; text: figures or an error."""

    kind: str
    job: Job
    round: int = 0
    text: str = ""


@dataclass(frozen=True)
class Notes:
    """A listener that sends progress to the parent process."""

    pipe: Connection

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.pipe.send(("round", report.round, ""))

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.pipe.send(("round", evaluation.round, describe(evaluation)))


def describe(evaluation: Evaluation) -> str:
    """The figures of an evaluation in a few words."""
    found = evaluation.groups["all"]
    text = f"{evaluation.split} HR@10 {found['hr@10']:.3f} NDCG@10 {found['ndcg@10']:.3f}"
    return text + (f" ER@10 {evaluation.exposure['er@10']:.3f}" if evaluation.exposure else "")
