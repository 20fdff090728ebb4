"""Who was silent, and until when: a node that misses a deadline is left out, the longer the more often."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

RETRY_ROUNDS = 5
"""Rounds until a node that missed a deadline is asked again; each further miss doubles them."""

REST_S = 3600.0
"""However many rounds it has to rest: after an hour it is asked again."""

FORGIVEN = 10
"""Rounds answered in time that make up for one miss."""


@dataclass
class Silence:
    """resting: node -> the round, and the time, from which it is asked again.

    misses: node -> deadlines missed, less those made up for. Times are seconds of any one clock.
    """

    resting: dict[int, tuple[int, float]] = field(default_factory=dict)
    misses: dict[int, float] = field(default_factory=dict)

    def missed(self, node: int, round_: int, now: float) -> None:
        """Leave it out: the longer the more often it was silent, and an hour at most."""
        self.misses[node] = self.misses.get(node, 0.0) + 1
        pause = RETRY_ROUNDS * 2 ** min(30, math.ceil(self.misses[node]) - 1)
        self.resting[node] = (round_ + pause, now + REST_S)

    def answered(self, nodes: Iterable[int]) -> None:
        """These nodes were in time: an old miss counts for less."""
        for node in nodes:
            if node in self.misses:
                self.misses[node] = max(0.0, self.misses[node] - 1 / FORGIVEN)

    def over(self, node: int, round_: int, now: float) -> bool:
        """Whether it may be asked."""
        until, at = self.resting.get(node, (round_, math.inf))
        return until <= round_ or now >= at

    def back(self, node: int) -> None:
        """It said something."""
        self.resting.pop(node, None)

    def forget(self, node: int) -> None:
        self.misses.pop(node, None)
        self.resting.pop(node, None)

    def clear(self) -> None:
        """Everybody may be asked at once."""
        self.misses.clear()
        self.resting.clear()
