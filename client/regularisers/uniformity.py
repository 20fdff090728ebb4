"""UNION's part on the device: what follows each other alike, everything else apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from client.regularisers.base import Own, Regulariser, checked


@dataclass(frozen=True)
class Uniformity(Regulariser):
    """weight · contrast of neighbours in the device's history with all other items (:func:`contrast`).

    The client's half of the aggregator ``union``. Reference: arXiv 2212.05399.
    """

    weight: float = 1.0
    negatives: int = 15

    def __post_init__(self) -> None:
        checked(self.weight)
        if self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, given {self.negatives}")

    def __call__(self, own: Own) -> Tensor:
        return self.weight * contrast(
            own.inputs, own.rows, own.target, own.counted, own.candidates & ~own.held, self.negatives
        )


def contrast(
    inputs: Tensor, rows: Tensor, target: Tensor, counted: Tensor, others: Tensor, negatives: int
) -> Tensor:
    """−log(exp(e_i·e_j) / (exp(e_i·e_j) + m·mean_n exp(e_i·e_n))) at each position -> [ℓ], for ONE user.

    e_i is the input at the position (inputs [ℓ, d]), j the next item (target int64 [ℓ], its place among
    rows [K, d], valid where counted bool [ℓ], else the penalty is 0); n runs over the ``others`` (bool [K]),
    the candidates that the device does not hold. UNION (arXiv 2212.05399) draws m = ``negatives`` of them: m
    times their mean is the same in expectation, and draws nothing.
    """
    alike = (inputs * rows[target]).sum(1)  # e_i·e_j  [ℓ]
    apart = (inputs @ rows.T).masked_fill(~others, -1e9)  # e_i·e_n  [ℓ, K]
    mean = torch.logsumexp(apart, dim=-1) - others.sum().clamp(min=1).log()  # [ℓ]
    return F.softplus(mean + torch.log(torch.ones_like(mean) * negatives) - alike) * counted  # [ℓ]
