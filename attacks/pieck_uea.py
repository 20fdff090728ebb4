"""PIECK-UEA: popular items stand in for users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from attacks.base import Attack, View
from attacks.mining import mine
from attacks.pushing import push
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class PieckUea(Attack):
    """L = 1/N Σ_k −log σ(e_k·e_t) over the N mined items k; g_t := boost · c_u · −∇L/‖∇L‖.

    −∇L = 1/N Σ_k (1 − σ(e_k·e_t)) e_k. User embedding approximation (PIECK, arXiv 2502.12958): many
    users are near the popular items that they all have. c_u is the size of one honest interaction. All
    else is honest, and so is a round whose slice lacks the target or the node's first. O(N·d) beside the
    mining.
    """

    mined: int = 10
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global models of several rounds"
    reference: ClassVar[str] = "arXiv 2502.12958"

    def __post_init__(self) -> None:
        if self.mined < 1:
            raise ValueError(f"mined is {self.mined}; expected at least 1 item")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        users = view.task.model.embeddings[mine(view, self.mined)]  # [N, d]
        slots = view.slots()
        if not slots or not len(users):
            return updates
        targets = view.aimed()  # [m, d]
        unconvinced = torch.sigmoid(-(targets @ users.T))  # [m, N]
        return push(updates, slots, unconvinced @ users / len(users), self.boost)
