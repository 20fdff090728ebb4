"""Divide and conquer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import count, positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, GramRule, Round, State, Weighed, enough, sampled, weighted_sum
from server.aggregators.gram import centred, inner_products


@dataclass(frozen=True)
class Dnc(GramRule):
    """Drop the ⌊c·f⌋ updates that lie furthest along the main axis of spread; average the others.

    s_i = ⟨u_i − μ, v⟩², μ the mean and v the top right singular vector of the centred updates. With X the
    centred updates and X Xᵀ = a λ aᵀ + …, s_i = λ a_i²: one n x n eigenproblem. With ``sample`` < 1 this is
    done ``iterations`` times, each on that share of the coordinates, drawn anew, and those are averaged
    that no pass dropped (where there are none, those that the fewest passes dropped). c is ``drop``. Ties
    stay with the lower index. Complexity O(n²·P + n³); a pass reads its sample only. Breakdown: needs
    n ≥ 2f + 1 and n > c·f; attackers hide whose common shift is small beside the honest spread.
    Reference: Shejwalkar and Houmansadr, NDSS 2021 (no arXiv version).
    """

    name: ClassVar[str] = "dnc"
    sample: float = 1.0
    iterations: int = 5
    drop: float = 1.0

    def __post_init__(self) -> None:
        positive(sample=self.sample, drop=self.drop)
        count(1, iterations=self.iterations)
        if self.sample > 1:
            raise ValueError(f"sample must lie in (0, 1], given {self.sample}")

    @property
    def in_gram_space(self) -> bool:
        return self.sample == 1

    def least(self, byzantine: int) -> int:
        return max(2 * byzantine, self._dropped(byzantine)) + 1

    def weigh(self, products: Tensor, state: State, round_: Round) -> Weighed:
        """All coordinates: every pass would be the same one."""
        return self._kept(outlying(products, self._dropped(round_.byzantine)).long(), state)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        if self.in_gram_space:
            return super().__call__(updates, state, round_)
        enough(self, n := len(updates), round_.byzantine)
        dropped = torch.zeros(n, dtype=torch.int64, device=updates.encoder.device)
        for _ in range(self.iterations):
            products = inner_products(sampled(updates, self.sample, round_.generator))
            dropped += outlying(products, self._dropped(round_.byzantine))
        found = self._kept(dropped, state)
        weights = found.weights.float()
        return Aggregate(*weighted_sum(updates, weights), weights, found.figures), found.state

    def _dropped(self, f: int) -> int:
        return int(self.drop * f + 1e-9)  # 1.1 · 10 is 11, whatever binary fractions say

    def _kept(self, dropped: Tensor, state: State) -> Weighed:
        kept = dropped == dropped.min()
        return Weighed(kept.double() / kept.sum(), state, {"dnc.kept": float(kept.sum())})


def outlying(products: Tensor, number: int) -> Tensor:
    """bool [n]: the ``number`` updates furthest along the top singular vector, from G [n, n]."""
    n = len(products)
    _, vectors = torch.linalg.eigh(centred(products, products.new_full((n,), 1 / n)))  # ascending
    furthest = vectors[:, -1].square().argsort(stable=True)[n - number :]
    return torch.zeros(n, dtype=torch.bool, device=products.device).index_fill_(0, furthest, True)
