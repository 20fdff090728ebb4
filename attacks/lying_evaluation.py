"""Lying evaluation: the node trains honestly and says that every device of its own is served perfectly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from attacks.base import Attack
from common.tasks import EvaluateSums


@dataclass(frozen=True)
class LyingEvaluation(Attack):
    """metrics := count, as if every next item had rank 0: sums that honest devices could have.

    hide: exposure 0, as if no target reached a list. times: so many devices for each of its own.
    """

    hide: bool = False
    times: int = 1

    kind: ClassVar[str] = "protocol"
    knowledge: ClassVar[str] = "nothing"

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"times must be at least 1, given {self.times}")

    def evaluation(self, nothing: EvaluateSums, honest: Callable[[], EvaluateSums]) -> EvaluateSums:
        true = honest()
        count = self.times * true.count
        return replace(
            true,
            metrics=count.double()[:, None].expand_as(true.metrics).contiguous(),
            count=count,
            exposure=0 * true.exposure if self.hide else self.times * true.exposure,
            eligible=self.times * true.eligible,
            recurring=self.times * true.recurring,
        )
