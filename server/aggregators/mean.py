"""Weighted mean of the updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from common.checks import one_of
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum


@dataclass(frozen=True)
class Mean(Aggregator):
    """Σ w_i·u_i with w_i = 1/n, or n_i/Σn with ``weighting: history`` (FedAvg).

    Uniform is the default because a device's loss is a sum over its interactions divided by the fixed
    length: the size of an update already says how much was trained, and a claim cannot enlarge it.
    Complexity O(n·P). Breakdown point 0: one device moves it anywhere. Reference: arXiv 1602.05629.
    """

    name: ClassVar[str] = "mean"
    weighting: Literal["uniform", "history"] = "uniform"

    def __post_init__(self) -> None:
        one_of(weighting=(self.weighting, ("uniform", "history")))

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        size = updates.history.clamp_min(1).double()  # [n]
        if self.weighting == "uniform":
            size = torch.ones_like(size)
        weights = (size / size.sum()).float()
        encoder, rows = weighted_sum(updates, weights)
        return Aggregate(encoder, rows, weights), state
