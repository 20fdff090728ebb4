"""Slow reply: an honest answer, held until nobody waits for it any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flwr.app import RecordDict

from attacks.base import Attack, View
from common.checks import within

LONGEST_S = 10**9
"""Thirty years; ten times as long is more than a clock can be told to wait."""


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
        within(0, LONGEST_S, seconds=self.seconds)

    def tamper(self, reply: RecordDict, view: View) -> RecordDict:
        view.sleep(self.seconds)
        return reply
