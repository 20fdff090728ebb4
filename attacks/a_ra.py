"""A-ra: promote the target for users drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import Attack, View
from attacks.pushing import push
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class ARa(Attack):
    """L = 1/S Σ_s −log σ(u_s·e_t), u_s ~ N(0, spread² I); g_t := boost · c_u · −∇L/‖∇L‖.

    −∇L = 1/S Σ_s (1 − σ(u_s·e_t)) u_s. Random approximation of Rong et al. 2022 (arXiv 2204.13594):
    u_s stands for the hidden state of a benign user; every device draws S = ``users`` of its own, and no
    data is used. Their model has an MLP between user and item, whose poisonous gradient is uploaded too;
    here the score is the inner product, L does not depend on the encoder, and all else stays honest. The
    pushes of random users cancel over devices and rounds, so that the target hardly rises here.
    c_u is the size of one honest interaction. O(n·S·d).
    """

    users: int = 10
    spread: float = 0.01
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global model"
    reference: ClassVar[str] = "arXiv 2204.13594"

    def __post_init__(self) -> None:
        if self.users < 1:
            raise ValueError(f"users is {self.users}; expected at least 1")

    def synthetic(self, target: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Users [count, S, d] that stand for the benign ones; target [d] is the target's row."""
        return self.spread * torch.randn(count, self.users, len(target), generator=generator).to(target)

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        slots = view.slots()
        if not slots:
            return updates
        directions = []
        for row in view.aimed():  # [d]
            users = self.synthetic(row, len(updates), view.generator)  # [n, S, d]
            unconvinced = torch.sigmoid(-(users @ row))  # [n, S]; 1 − σ(x) = σ(−x)
            directions.append((unconvinced[:, :, None] * users).mean(1))  # [n, d]
        return push(updates, slots, torch.stack(directions, dim=1), self.boost)
