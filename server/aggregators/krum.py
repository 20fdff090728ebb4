"""Krum and Multi-Krum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from common.checks import count, one_of
from server.aggregators.base import GramRule, Round, State, Weighed
from server.aggregators.gram import distance_blocks


@dataclass(frozen=True)
class Krum(GramRule):
    """The ``select`` updates with the least Σ of squared distances to their nearest neighbours, averaged.

    s_i = Σ_{j ∈ N_i} ‖u_i − u_j‖² with |N_i| = n − f − 2 (``neighbours: paper``, as in Flower) or
    n − f − 1 (``byzfl``); i itself is no neighbour. ``select: 1`` is Krum, m > 1 Multi-Krum, 0 takes
    n − f (ByzFL's Multi-Krum). f is the round's bound, or ``byzantine``. Ties go to the lowest index.
    Complexity O(n²·P). Breakdown: needs n ≥ 2f + 3 when f > 0, and n ≥ m + f. Reference: arXiv 1703.02757.
    """

    name: ClassVar[str] = "krum"
    select: int = 1
    neighbours: Literal["paper", "byzfl"] = "paper"
    byzantine: int | None = None

    def __post_init__(self) -> None:
        count(0, select=self.select)
        if self.byzantine is not None:
            count(0, byzantine=self.byzantine)
        one_of(neighbours=(self.neighbours, ("paper", "byzfl")))

    def least(self, byzantine: int) -> int:
        f = byzantine if self.byzantine is None else self.byzantine
        return max(2 * f + 3 if f else 1, self.select + f)

    def weigh(self, products: Tensor, state: State, round_: Round) -> Weighed:
        f = round_.byzantine if self.byzantine is None else self.byzantine
        n = len(products)
        keep = self.select or n - f
        score = torch.cat([scores(block, self._nearest(n, f)) for block in distance_blocks(products)])
        chosen = score.argsort(stable=True)[:keep]
        weights = torch.zeros_like(score).index_fill_(0, chosen, 1 / keep)
        return Weighed(weights, state, {"krum.score": float(score[chosen].mean())})

    def _nearest(self, n: int, f: int) -> int:
        count = n - f - (2 if self.neighbours == "paper" else 1)
        return min(max(count, 1), n - 1)  # without attackers Krum stays defined for one or two devices


def scores(distances: Tensor, nearest: int) -> Tensor:
    """s_i: sum of the ``nearest`` smallest off-diagonal entries of each of some rows of D, [b, n] -> [b]."""
    return distances.sort(dim=1).values[:, 1 : 1 + nearest].sum(dim=1)  # column 0 is i's own zero
