"""PIECK-IPE: make the target's row look like those of popular items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.base import Attack, View
from attacks.mining import mine
from attacks.pushing import push
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class PieckIpe(Attack):
    """L = −Σ_{cos>0} w_k cos_k/n⁺ − Σ_{cos≤0} w_k cos_k/n⁻, cos_k = cos(e_k, e_t), k the N mined items.

    Item popularity enhancement (PIECK, arXiv 2502.12958): w_k falls linearly from the first to
    the N-th and sums to 1; n⁺ and n⁻ count the two signs. Once the mean cosine exceeds ``close``,
    L = −‖e_t‖ lengthens the row. g_t := boost · c_u · −∇L/‖∇L‖, c_u the size of one honest interaction;
    the temperature τ of the paper scales L and with it nothing here. All else is honest, and so is a
    round whose slice lacks the target or the node's first. Complexity O(N·d) beside the mining, O(N_items·d).
    """

    mined: int = 10
    close: float = 0.95
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global models of several rounds"
    reference: ClassVar[str] = "arXiv 2502.12958"

    def __post_init__(self) -> None:
        if self.mined < 1:
            raise ValueError(f"mined is {self.mined}; expected at least 1 item")

    def loss(self, target: Tensor, popular: Tensor) -> Tensor:
        """L of the target's row [d] against popular rows [N, d], fastest first."""
        cos = F.cosine_similarity(popular, target[None], dim=1)  # [N]
        if float(cos.detach().mean()) > self.close:
            return torch.neg(target.norm())
        weight = torch.arange(len(popular), 0, -1, dtype=cos.dtype, device=cos.device)
        weight = weight / weight.sum()  # [N]
        loss: Tensor = cos.new_zeros(())
        for part in (cos > 0, cos <= 0):
            loss = loss - (weight * cos * part).sum() / part.sum().clamp(min=1)
        return loss

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        popular = view.task.model.embeddings[mine(view, self.mined)]  # [N, d]
        slots = view.slots()
        if not slots or not len(popular):
            return updates
        directions = []
        for row in view.aimed():  # [d]
            leaf = row.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.loss(leaf, popular), leaf)
            directions.append(-gradient)
        return push(updates, slots, torch.stack(directions), self.boost)
