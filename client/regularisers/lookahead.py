"""A state must point to where the history goes, and not to its next item alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from client.regularisers.base import Own, Regulariser


@dataclass(frozen=True)
class Lookahead(Regulariser):
    """The label of a state is spread over the items that follow: (1 − w)·ℓ_t(1) + w·Σ_k a_k·ℓ_t(k).

    ℓ_t(k) is the loss of h_t with the item k steps on as its answer, k = 2 … reach, a_k ∝ decay^k and
    Σ a_k = 1; the loss itself has ℓ_t(1), so the term is w·(Σ_k a_k·ℓ_t(k) − ℓ_t(1)). On a sparse log an item
    has few states that it follows at once, and more that it follows soon. An item is the answer of several
    states, of each in part: in sum its row is pulled by no more than one interaction, which the sieve bounds.
    Reference: after the dense all-action loss of arXiv 2205.04507.

    weight  w, share of the label that later items get, from 0 up to, but not, 1
    reach   the last step that counts, 2 or more
    decay   of a step beside the one before it, over 0 and up to 1
    """

    ahead: ClassVar[bool] = True
    moves_all: ClassVar[bool] = False
    weight: float = 0.55
    reach: int = 5
    decay: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.weight < 1:
            raise ValueError(f"weight must be from 0 up to, but not, 1, given {self.weight}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be over 0 and at most 1, given {self.decay}")
        if self.reach < 2:
            raise ValueError(f"reach must be at least 2, given {self.reach}")

    def __call__(self, own: Own) -> Tensor:
        size = own.target.shape[0]
        place = torch.arange(size, device=own.target.device)  # [ℓ]
        shares = [self.decay**k for k in range(2, self.reach + 1)]
        total = -torch.where(own.counted, own.loss(own.target), 0.0)  # [ℓ]
        for step, share in enumerate(shares, start=1):
            later = own.target.roll(-step)  # [ℓ]: the item 1 + step after t
            there = own.counted.roll(-step) & (place < size - step)  # [ℓ]
            total = total + share / sum(shares) * torch.where(there, own.loss(later), 0.0)
        return self.weight * total
