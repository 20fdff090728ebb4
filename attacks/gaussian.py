"""Gaussian: noise instead of an update."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import Attack, View
from common.checks import positive
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class Gaussian(Attack):
    """u ~ N(0, (scale · rms)² I) per block, rms that of the attacker's own honest updates.

    Blanchard et al. 2017 (arXiv 1703.02757) draw from a wide Gaussian; tying σ to the honest size
    keeps ``scale`` comparable between models.
    """

    scale: float = 10.0

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 1703.02757"

    def __post_init__(self) -> None:
        positive(scale=self.scale)

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        own = updates.rows.new_ones(updates.rows.shape[:2], dtype=torch.bool)  # [n, K]
        if updates.touched is not None:  # a value in another row would be refused
            own = updates.touched
        encoder = self._noise(updates.encoder, updates.encoder, view)
        rows = self._noise(updates.rows, updates.rows[own], view)
        return replace(updates, encoder=encoder, rows=rows * own[:, :, None])

    def _noise(self, like: Tensor, honest: Tensor, view: View) -> Tensor:
        rms = honest.square().mean().sqrt()
        return self.scale * rms * torch.randn(like.shape, generator=view.generator).to(like)
