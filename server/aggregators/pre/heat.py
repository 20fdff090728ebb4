"""Heat correction of rows that few devices hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from common.checks import positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State


@dataclass(frozen=True)
class Heat:
    """h_k = min(cap, n/c_k) for row k of the aggregate, c_k the devices of the round that touched it.

    Turns a mean over all devices into the mean over those that hold the row (FedSubAvg), so that cold rows
    learn as fast as hot ones; it amplifies exactly the rows that attackers aim at, hence the cap. It acts
    on what the rule returns: the rule judges devices by what they sent. Where every device trains every
    row (``negatives: full | slice``) it changes nothing. Reference: arXiv 2109.07704.
    """

    cap: float = 10.0

    name: ClassVar[str] = "heat"

    def __post_init__(self) -> None:
        positive(cap=self.cap)
        if self.cap < 1:
            raise ValueError(f"cap must be at least 1, given {self.cap}")

    def factors(self, touched: Tensor) -> Tensor:
        """h [K] from touched bool [n, K]."""
        return (len(touched) / touched.sum(dim=0).clamp_min(1)).clamp_max(self.cap)


@dataclass(frozen=True)
class Heated(Aggregator):
    """``rule``, its rows corrected for heat."""

    heat: Heat
    rule: Aggregator

    name: ClassVar[str] = "heated"

    @property
    def rooted(self) -> bool:  # type: ignore[override]
        return self.rule.rooted

    @property
    def sliced(self) -> bool:  # type: ignore[override]
        return self.rule.sliced

    @property
    def rowwise(self) -> bool:  # type: ignore[override]
        return self.rule.rowwise

    def init(self) -> State:
        return self.rule.init()

    def least(self, byzantine: int) -> int:
        return self.rule.least(byzantine)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        result, after = self.rule(updates, state, round_)
        if updates.touched is None:
            return result, after
        factors = self.heat.factors(updates.touched)  # [K]
        capped = float((factors == self.heat.cap).double().mean())
        rows = result.rows * factors.to(result.rows)[:, None]
        return replace(result, rows=rows, figures={**result.figures, "heat.capped": capped}), after
