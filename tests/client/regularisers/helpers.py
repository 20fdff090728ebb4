"""One device in double precision: a small model, its sequence, and what a term may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from client.regularisers import Own, Regulariser
from experiments.contracts.regularisers import DIM as DIM
from experiments.contracts.regularisers import LENGTH as LENGTH
from experiments.contracts.regularisers import K as K
from experiments.contracts.regularisers import encoder as encoder
from experiments.contracts.regularisers import own as own


def real(sequence: Tensor, mine: Own) -> Tensor:
    """Hidden states [n, d] of real items only, without padding and without a bucket."""
    return mine.encode(sequence, torch.zeros(len(sequence), dtype=torch.bool))


@dataclass(frozen=True)
class Reordered(Regulariser):
    """weight · ‖h − h′‖² at the last position, h′ the state after the items in an order drawn by chance.

    A term of one's own that runs the model once more and draws: none that comes with the project does.
    """

    passes: ClassVar[int] = 1
    weight: float = 0.1

    def __call__(self, own: Own) -> Tensor:
        order = torch.argsort(own.noise[0] - 2.0 * own.padding)  # [ℓ]: padding stays on the left
        other = own.encode(own.inputs[order], own.padding)  # [ℓ, d]
        last = torch.arange(len(order), device=order.device) == len(order) - 1
        return self.weight * (own.hidden - other).square().sum(1) * last


REORDERED = f"{__name__}:Reordered"
