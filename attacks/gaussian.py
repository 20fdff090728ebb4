"""Gaussian: noise instead of an update."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from attacks.base import Attack, View
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

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        blocks = []
        for block in (updates.encoder, updates.rows):
            noise = torch.randn(block.shape, generator=view.generator)
            blocks.append(self.scale * block.square().mean().sqrt() * noise)
        return replace(updates, encoder=blocks[0], rows=blocks[1])
