"""PSMU: each malicious device is a made-up user for whom the target beats its rivals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import Attack, View
from attacks.pushing import push
from attacks.users import best_items, fit_users, most_alike
from common.checks import count, positive
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class Psmu(Attack):
    """L_u = Σ_{c∈C(u,t)} σ(u·e_c − u·e_t); g_u,t := boost · c_u · −∇L/‖∇L‖, −∇_{e_t}L = Σ_c σ′(…) u.

    Poisoning with synthetic malicious users (Yuan et al. 2023, arXiv 2304.03054). A device's user likes
    ``profile`` random items; its vector u is fitted to them by ``steps`` of BPR on the global table. The
    rivals C are the user's ``top`` best items and the ``alike`` items most similar to t, targets aside.
    The paper uploads the target's row and those of the made-up profile; with a slice every row is uploaded,
    so the others stay honest, and so does the encoder. Users who like random items share no direction,
    unlike those of a sequence model: over devices the pushes cancel, and the target hardly rises here.
    c_u is the size of one honest interaction. O(n·(steps·profile + N)·d).
    """

    profile: int = 30
    steps: int = 20
    rate: float = 0.1
    top: int = 5
    alike: int = 10
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global model"
    reference: ClassVar[str] = "arXiv 2304.03054"

    def __post_init__(self) -> None:
        count(1, profile=self.profile, steps=self.steps)
        count(0, top=self.top, alike=self.alike)
        positive(rate=self.rate, boost=self.boost)
        if self.top + self.alike < 1:
            raise ValueError("top and alike are 0: the target needs at least 1 rival")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        slots = view.slots()
        if not slots:
            return updates
        table = view.task.model.embeddings
        shape = (len(updates), self.profile)
        liked = torch.randint(1, len(table), shape, generator=view.generator).to(table.device)  # [n, profile]
        users = fit_users(table, liked, self.steps, self.rate, view.generator)  # [n, d]
        directions = [self.direction(users, item, view) for item in view.aims()]
        return push(updates, slots, torch.stack(directions, dim=1), self.boost)

    def direction(self, users: Tensor, target: int, view: View) -> Tensor:
        """−∇L of the target's row for each user: [n, d]."""
        table = view.task.model.embeddings
        without = torch.zeros(len(table), dtype=torch.bool, device=table.device)
        without[[0, *view.targets]] = True
        near = most_alike(table, target, without, self.alike).expand(len(users), -1)  # [n, alike]
        rivals = torch.cat([best_items(users, table, without, self.top), near], dim=1)  # [n, R]
        lead = ((table[rivals] - table[target]) @ users[:, :, None]).squeeze(2)  # [n, R]
        steep = torch.sigmoid(lead) * torch.sigmoid(-lead) * _first(rivals)  # [n, R]
        return steep.sum(1)[:, None] * users


def _first(rivals: Tensor) -> Tensor:
    """1 where an item stands for the first time in its row, else 0: C is a set. [n, R]"""
    same = rivals[:, :, None] == rivals[:, None, :]  # [n, R, R]
    return ~same.tril(-1).any(dim=2)
