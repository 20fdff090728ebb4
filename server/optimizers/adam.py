"""Adam and its relatives on the pseudo-gradient (FedAdam, FedYogi: arXiv 2003.00295)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.checks import positive, unit
from server.optimizers.base import Blockwise, Slots, debias


def _counter(block: Tensor, per_row: bool) -> Tensor:
    shape = block.shape[:1] if per_row else ()
    return torch.zeros(shape, dtype=torch.int64, device=block.device)


@dataclass(frozen=True)
class Adam(Blockwise):
    """One second moment a coordinate: m̂/(√v̂ + ε), bias-corrected per block and per item row.

    m ← β₁m + (1−β₁)u, v ← β₂v + (1−β₂)u². With a slice of all rows this is torch.optim.Adam on
    the gradient −u (arXiv 1412.6980). It turns a cold row's tiny push into a full-size step.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        unit(beta1=self.beta1, beta2=self.beta2)
        positive(eps=self.eps)

    def open(self, block: Tensor, per_row: bool) -> Slots:
        zeros = torch.zeros_like(block)
        return {"m": zeros, "v": zeros.clone(), "count": _counter(block, per_row)}

    def advance(self, update: Tensor, slots: Slots) -> tuple[Tensor, Slots]:
        count = slots["count"] + 1
        m = self.beta1 * slots["m"] + (1 - self.beta1) * update
        v = self.second(slots["v"], update.square())
        mean = m / debias(self.beta1, count, m)
        scale = (v / debias(self.beta2, count, v)).sqrt() + self.eps
        return mean / scale, {"m": m, "v": v, "count": count}

    def second(self, v: Tensor, square: Tensor) -> Tensor:
        """The next second moment from u²."""
        return self.beta2 * v + (1 - self.beta2) * square


@dataclass(frozen=True)
class Yogi(Adam):
    """Adam whose second moment moves additively: v ← v − (1−β₂)·sign(v − u²)·u².

    v falls no faster than the updates are large, so that a quiet spell does not blow up the next
    step. Bias-corrected like Adam (Zaheer 2018; FedYogi, arXiv 2003.00295).
    """

    beta2: float = 0.99

    def second(self, v: Tensor, square: Tensor) -> Tensor:
        return v - (1 - self.beta2) * torch.sign(v - square) * square


@dataclass(frozen=True)
class BlockAdam(Blockwise):
    """Adam with ONE second moment a block: m̂/(√v̂_block + ε), v_block an EMA of the mean of u².

    A block is a named encoder tensor or the item table; the table's mean runs over the rows of this
    round's slice. Rows keep their relative size, so a tiny coherent push on a cold row stays tiny
    where Adam would enlarge it. m̂ is corrected by the row's own count of rounds, v̂ by the block's.
    Related: Adam-mini (arXiv 2406.16793).
    """

    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        unit(beta1=self.beta1, beta2=self.beta2)
        positive(eps=self.eps)

    def open(self, block: Tensor, per_row: bool) -> Slots:
        return {
            "m": torch.zeros_like(block),
            "v": block.new_zeros(()),
            "count": _counter(block, per_row),
            "rounds": _counter(block, per_row=False),
        }

    def advance(self, update: Tensor, slots: Slots) -> tuple[Tensor, Slots]:
        count, rounds = slots["count"] + 1, slots["rounds"] + 1
        m = self.beta1 * slots["m"] + (1 - self.beta1) * update
        v = self.beta2 * slots["v"] + (1 - self.beta2) * update.square().mean()
        mean = m / debias(self.beta1, count, m)
        scale = (v / debias(self.beta2, rounds, v)).sqrt() + self.eps
        return mean / scale, {"m": m, "v": v, "count": count, "rounds": rounds}
