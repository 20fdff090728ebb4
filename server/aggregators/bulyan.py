"""Bulyan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Round, State, enough
from server.aggregators.coordinates import CoordinateRule, Votes, settled
from server.aggregators.gram import gram, squared_distances


@dataclass(frozen=True)
class Bulyan(CoordinateRule):
    """Krum picks θ = n − 2f updates one by one; then the mean of the θ − 2f values nearest to their median.

    After each pick the rest is scored anew, with the r − f − 2 nearest of the r that remain (at least
    one). With one neighbour each other's nearest tie: the smaller distance to all that remain decides,
    then the lowest index. Values equally far from the median share the last places. A row that m of the
    picked touched (``electorate: touched``) keeps max(1, m − 2f) values. Complexity O(n²·P + n³):
    distances once, from the Gram matrix. Breakdown: needs n ≥ 4f + 3 when f > 0.
    Reference: arXiv 1802.07927.
    """

    name: ClassVar[str] = "bulyan"

    def least(self, byzantine: int) -> int:
        return 4 * byzantine + 3 if byzantine else 1

    def settle(self, votes: Votes, byzantine: int) -> Tensor:
        return votes.nearest(votes.median(), (votes.number - 2 * byzantine).clamp_min(1))

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), f := round_.byzantine)
        settle = partial(self.settle, byzantine=f)
        chosen = picked(squared_distances(gram(updates)), n - 2 * f, f)[:, None]  # [n, 1]
        encoder = settled(updates.encoder.unsqueeze(-1), settle, chosen.expand_as(updates.encoder))
        voters = chosen.expand(updates.rows.shape[:2])  # [n, K]
        if self.electorate == "touched" and updates.touched is not None:
            voters = voters & updates.touched
        return Aggregate(encoder.squeeze(-1), settled(updates.rows, settle, voters)), state


def picked(distances: Tensor, count: int, byzantine: int) -> Tensor:
    """The ``count`` devices that repeated Krum takes from D [n, n] (squared) -> bool [n]."""
    n = len(distances)
    ordered, others = distances.clone().fill_diagonal_(-1).sort(dim=1)  # column 0 is i itself
    ordered, others = ordered[:, 1:], others[:, 1:]  # [n, n − 1]
    left = torch.ones(n, dtype=torch.bool, device=distances.device)
    for remaining in range(n, n - count, -1):
        nearest = max(remaining - byzantine - 2, 1)
        there = left[others]  # [n, n − 1]
        among = there & (there.cumsum(dim=1) <= nearest)
        scores = torch.where(among, ordered, 0.0).sum(dim=1).masked_fill(~left, torch.inf)
        tied = scores == scores.min()
        left[(distances @ left.to(distances)).masked_fill(~tied, torch.inf).argmin()] = False
    return ~left
