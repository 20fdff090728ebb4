"""Nodes that could not enrol: why, and when they may be asked again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from common.wire import Reason

REFUSED_S = 10.0
"""A node with another catalogue is asked again after this while the run waits for nodes: its owner may have
mended it. In the rounds it rests as a silent node does."""

OTHER_CATALOGUE = f"catalogue: {Reason.FOREIGN.value}"
"""How the refusal begins, whichever side refuses."""


@dataclass
class Refusals:
    """told: node -> why, and from when it may be asked again, in seconds of any one clock."""

    told: dict[int, tuple[str, float]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[int]:
        return iter(self.told)

    def note(self, node: int, text: str, now: float) -> bool:
        """Whether this is another reason than its last one."""
        before, _ = self.told.pop(node, ("", 0.0))
        self.told[node] = text, now + (REFUSED_S if OTHER_CATALOGUE in text else 0.0)
        return text != before

    def over(self, node: int, now: float) -> bool:
        """Whether it may be asked."""
        _, again = self.told.get(node, ("", -math.inf))
        return now >= again

    def forget(self, node: int) -> None:
        """It enrolled, or is gone for good."""
        self.told.pop(node, None)

    def ending(self) -> str:
        """The end of an error: who could not enrol, and why."""
        if not self.told:
            return ""
        node, (text, _) = min(self.told.items())
        more = f", and {len(self.told) - 1} more" if len(self.told) > 1 else ""
        return f"; node {node} {text}{more}"
