"""Robust learning rate: a majority of signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from common.checks import one_of, positive
from server.aggregators.coordinates import CoordinateRule, Votes


@dataclass(frozen=True)
class Rlr(CoordinateRule):
    """The mean of every coordinate, turned round where the voters' signs agree too little.

    +mean where |Σ sign(u_i)| ≥ θ, −mean elsewhere, so that whatever a few devices push for is unlearned;
    ``below: drop`` leaves such a coordinate where it is. θ is ``threshold`` in devices, or f + 1 with the
    round's bound f (0 against nobody: no votes, though they be tied, are turned round), and at most the
    number of voters: unanimity is never turned round. A vote of 0 is nobody's. Complexity O(n·P).
    Breakdown point 0 in size: it bounds the direction by f < θ, not how far one device moves the mean.
    Reference: arXiv 2007.03767.
    """

    name: ClassVar[str] = "rlr"
    threshold: float | None = None
    below: Literal["flip", "drop"] = "flip"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(below=(self.below, ("flip", "drop")))
        if self.threshold is not None:
            positive(threshold=self.threshold)

    def least(self, byzantine: int) -> int:
        return byzantine + 1 if self.threshold is None else 1

    def settle(self, votes: Votes, byzantine: int) -> Tensor:
        values = votes.masked(0.0)  # [K, d, n]
        mean = values.sum(-1, keepdim=True, dtype=torch.float64) / votes.number.clamp_min(1)
        agreement = values.sign().sum(-1, keepdim=True).abs()  # [K, d, 1]
        theta = self.threshold
        if theta is None:
            theta = byzantine + 1.0 if byzantine else 0.0
        other = -mean if self.below == "flip" else torch.zeros_like(mean)
        return torch.where(agreement >= votes.number.clamp_max(theta), mean, other)
