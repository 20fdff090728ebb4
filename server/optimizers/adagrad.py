"""Adagrad with one accumulator an item row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.checks import positive
from server.optimizers.base import Blockwise, Slots


@dataclass(frozen=True)
class RowwiseAdagrad(Blockwise):
    """Adagrad; an item row shares one accumulator: G_r ← G_r + mean(u_r²), δ_r = lr·u_r/(√G_r + ε).

    Encoder tensors keep one accumulator a coordinate. Memory of the table: one number a row.
    Row-wise form: Gupta 2014 and DLRM (arXiv 1906.00091); Adagrad: Duchi 2011.
    """

    eps: float = 1e-8

    def __post_init__(self) -> None:
        positive(eps=self.eps)

    def open(self, block: Tensor, per_row: bool) -> Slots:
        if per_row:
            return {"sum": block.new_zeros(block.shape[:1] + (1,) * (block.dim() - 1))}
        return {"sum": torch.zeros_like(block)}

    def advance(self, update: Tensor, slots: Slots) -> tuple[Tensor, Slots]:
        square = update.square()
        if slots["sum"].shape != update.shape:  # the item table's [K, 1]
            square = square.mean(dim=tuple(range(1, update.dim())), keepdim=True)
        total = slots["sum"] + square
        return update / (total.sqrt() + self.eps), {"sum": total}
