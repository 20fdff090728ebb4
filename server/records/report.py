"""What a run tells the world: one report a round, and who listens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from server.round.state import ServerState


@dataclass(frozen=True)
class RoundReport:
    """Figures of one round and, where a device took part, a line about it for the audit.

    why: the reason for which the round was skipped; empty for one that moved the model.
    """

    round: int
    figures: dict[str, float]
    audit: Sequence[dict[str, Any]] = field(default_factory=tuple)
    why: str = ""

    @property
    def skipped(self) -> bool:
        return bool(self.why)


@dataclass(frozen=True)
class Evaluation:
    """Mean metrics on ``split`` after ``round``: by group (see common.tasks.GROUPS), and exposure.

    ``exposure`` is the mean over the targets, ``by_target`` has each of them under its ``#number``.
    over_nodes: ``nodes``, ``median`` and ``trimmed_mean`` (server.evaluation.over_nodes), from three on.
    randomised: devices that answered by randomised response; widened: how many times as wide that makes an
    interval of HR@10. asked: devices that were to rank, of a sample fewer than ``enrolled``; seconds: to the
    last reply. recurring: share of the answers that are in the history before them, as exact nodes say.
    """

    round: int
    split: str
    groups: dict[str, dict[str, float]]
    exposure: dict[str, float]
    devices: int
    by_target: dict[str, dict[str, float]] = field(default_factory=dict)
    over_nodes: dict[str, Any] = field(default_factory=dict)
    randomised: int = 0
    widened: float = 1.0
    asked: int = 0
    enrolled: int = 0
    recurring: float = 0.0
    seconds: float = field(default=0.0, compare=False)


class Listener(Protocol):
    """Told after each round and evaluation; files, progress bars and checkpoints are listeners."""

    def on_round(self, report: RoundReport, state: ServerState) -> None: ...

    def on_evaluation(self, evaluation: Evaluation) -> None: ...
