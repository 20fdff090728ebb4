"""A-hum: promote the target for the users that like it least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.a_ra import ARa
from common.checks import count, positive


@dataclass(frozen=True)
class AHum(ARa):
    """A-ra whose users first minimise their score: u ← u − rate · ∇_u −log(1 − σ(u·e_t)), ``steps`` times.

    ∇_u = σ(u·e_t) e_t. Hard user mining of Rong et al. 2022 (arXiv 2204.13594): who refuses the target
    gives the steepest gradient. Behind an inner product the hardest user is −e_t itself, so that the push
    shrinks the row towards zero instead of turning it to the users; with their MLP it is not.
    """

    steps: int = 30
    rate: float = 0.1

    reference: ClassVar[str] = "arXiv 2204.13594"

    def __post_init__(self) -> None:
        super().__post_init__()
        count(0, steps=self.steps)
        positive(rate=self.rate)

    def synthetic(self, target: Tensor, count: int, generator: torch.Generator) -> Tensor:
        users = super().synthetic(target, count, generator)  # [count, S, d]
        for _ in range(self.steps):
            users = users - self.rate * torch.sigmoid(users @ target)[:, :, None] * target
        return users
