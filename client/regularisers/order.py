"""The next item must follow from the order, and not from the set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from client.regularisers.base import Own, Regulariser, checked, from_right, shuffled


@dataclass(frozen=True)
class OrderConsistency(Regulariser):
    """weight · softplus(margin − s(h_t, next) + s(h′_t, next)), h′_t the state after the shuffled prefix.

    One shuffle within blocks of ``block`` positions, counted from the last, serves all prefixes that
    end with a block: these hold the same items as before, and the others do not count. A poisoner that
    pushes an item whatever came before gains nothing in this difference.
    """

    passes: ClassVar[int] = 1
    weight: float = 0.1
    margin: float = 1.0
    block: int = 4

    def __post_init__(self) -> None:
        checked(self.weight)
        if self.block < 2:
            raise ValueError(f"block must be at least 2, given {self.block}")

    def __call__(self, own: Own) -> Tensor:
        order = shuffled(own.padding, own.noise[0], self.block)  # [ℓ]
        other = own.encode(own.inputs[order], own.padding)  # [ℓ, d]
        following = own.rows[own.target]  # [ℓ, d]
        gain = ((own.hidden - other) * following).sum(1)  # [ℓ]: s(h_t, next) − s(h′_t, next)
        ends = (from_right(own.padding) % self.block == 0) & own.counted  # [ℓ]
        return self.weight * F.softplus(self.margin - gain) * ends
