"""Slow reply: an honest answer, held until nobody waits for it any more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from flwr.app import RecordDict

from attacks.base import Attack, View


@dataclass(frozen=True)
class SlowReply(Attack):
    """Hold the honest reply for ``seconds``: every round waits for ``strategy.deadline_s`` and goes without.

    A node that missed a deadline is not asked for the next rounds, which bounds what it can cost. A
    deployed node really sleeps. In an embedded run nobody sleeps: a reply held for longer than the
    deadline is lost as it would be, at once.
    """

    seconds: float = 90.0

    kind: ClassVar[str] = "protocol"
    knowledge: ClassVar[str] = "nothing"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"seconds must be a finite number from 0, given {self.seconds}")

    def tamper(self, reply: RecordDict, view: View) -> RecordDict:
        view.sleep(self.seconds)
        return reply
