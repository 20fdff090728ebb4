"""Krum and Multi-Krum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from common.errors import RunError
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Round, State, weighted_sum
from server.aggregators.gram import gram, squared_distances
from server.checks import count, need, one_of


@dataclass(frozen=True)
class Krum:
    """The ``select`` updates with the least Σ of squared distances to their nearest neighbours, averaged.

    s_i = Σ_{j ∈ N_i} ‖u_i − u_j‖² with |N_i| = n − f − 2 (``neighbours: paper``, as in Flower) or
    n − f − 1 (``byzfl``); i itself is no neighbour. ``select: 1`` is Krum, m > 1 Multi-Krum, 0 takes
    n − f (ByzFL's Multi-Krum). f is the round's bound, or ``byzantine``. Ties go to the lowest index.
    Complexity O(n²·P). Breakdown: needs n ≥ 2f + 3 when f > 0. Reference: arXiv 1703.02757.
    """

    select: int = 1
    neighbours: Literal["paper", "byzfl"] = "paper"
    byzantine: int | None = None

    def __post_init__(self) -> None:
        count(0, select=self.select)
        if self.byzantine is not None:
            count(0, byzantine=self.byzantine)
        one_of(neighbours=(self.neighbours, ("paper", "byzfl")))

    def init(self) -> State:
        return {}

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        f = round_.byzantine if self.byzantine is None else self.byzantine
        n = need(updates, 2 * f + 3 if f else 1, f"krum against {f} byzantine devices (n ≥ 2f + 3)")
        keep = self.select or n - f
        if keep > n - f:
            raise RunError(f"krum selects {keep}, more than the n − f = {n - f} honest updates of this round")
        score = scores(squared_distances(gram(updates).combined), self._nearest(n, f))
        chosen = score.argsort(stable=True)[:keep]
        weights = torch.zeros(n, device=score.device).index_fill_(0, chosen, 1 / keep)
        encoder, rows = weighted_sum(updates, weights)
        return Aggregate(encoder, rows, weights, {"krum.score": float(score[chosen].mean())}), state

    def _nearest(self, n: int, f: int) -> int:
        count = n - f - (2 if self.neighbours == "paper" else 1)
        return min(max(count, 1), n - 1)  # without attackers Krum stays defined for one or two devices


def scores(distances: Tensor, nearest: int) -> Tensor:
    """s_i: sum of the ``nearest`` smallest off-diagonal entries of each row of D [n, n] -> [n]."""
    return distances.sort(dim=1).values[:, 1 : 1 + nearest].sum(dim=1)  # column 0 is i's own zero
