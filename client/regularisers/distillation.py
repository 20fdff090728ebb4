"""The global model as a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from client.regularisers.base import Own, Regulariser, checked
from client.regularisers.views import encode_hidden, masked


@dataclass(frozen=True)
class Distillation(Regulariser):
    """weight · T² · KL(p^T_t ‖ p^S_t), p = softmax(h_t·e_i / T) over the slice, T = temperature.

    The teacher is the global model on the whole sequence; the student is the device's model on a view
    with each item but the last hidden with chance ``mask``. Positions of hidden items do not count.
    Every other one does, also where the next item is not in the slice. It holds local training near the
    global model, as in FedGKD, and asks that the state survive a missing item. Reference: arXiv 2107.00051.
    """

    passes: ClassVar[int] = 1
    weight: float = 0.1
    mask: float = 0.3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        checked(self.weight, mask=self.mask)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be finite and above 0, given {self.temperature}")

    def __call__(self, own: Own) -> Tensor:
        hide = masked(own.padding, own.noise[1], self.mask)  # [ℓ]
        student = self.log_shares(encode_hidden(own, own.inputs, hide), own.rows, own.candidates)  # [ℓ, K]
        teacher = self.log_shares(own.anchor, own.start, own.candidates)  # [ℓ, K]
        distance = (teacher.exp() * (teacher - student)).sum(1)  # [ℓ]
        return self.weight * self.temperature**2 * distance * ~hide

    def log_shares(self, hidden: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        """log softmax over the candidates: [ℓ, K]."""
        scores = (hidden @ rows.T / self.temperature).masked_fill(~candidates, -1e9)  # [ℓ, K]
        return torch.log_softmax(scores, dim=-1)
