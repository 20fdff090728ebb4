"""Server steps without a second moment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.checks import unit
from server.optimizers.base import Blockwise, Slots


@dataclass(frozen=True)
class Sgd(Blockwise):
    """Add the aggregate, scaled by the rate: δ = lr·u (FedAvg's server step at lr = 1)."""

    def open(self, block: Tensor, per_row: bool) -> Slots:
        return {}

    def advance(self, update: Tensor, slots: Slots) -> tuple[Tensor, Slots]:
        return update, {}


@dataclass(frozen=True)
class Momentum(Blockwise):
    """Heavy ball: m ← β·m + u, δ = lr·m (FedAvgM, arXiv 1909.06335)."""

    beta: float = 0.9

    def __post_init__(self) -> None:
        unit(beta=self.beta)

    def open(self, block: Tensor, per_row: bool) -> Slots:
        return {"m": torch.zeros_like(block)}

    def advance(self, update: Tensor, slots: Slots) -> tuple[Tensor, Slots]:
        m = self.beta * slots["m"] + update
        return m, {"m": m}
