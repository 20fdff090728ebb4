"""Nearest-neighbour mixing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from server.aggregators.base import Round
from server.aggregators.gram import distance_blocks
from server.aggregators.pre.base import Mixer


@dataclass(frozen=True)
class Nnm(Mixer):
    """u_i ← mean of the n − f updates nearest to u_i, itself included; ties go to the lowest index.

    Complexity O(n²·P) for G, O(n² log n) for the rest. Needs n > 2f. Reference: arXiv 2302.01772.
    """

    name: ClassVar[str] = "nnm"

    def least(self, byzantine: int) -> int:
        return 2 * byzantine + 1

    def matrix(self, products: Tensor, round_: Round) -> Tensor:
        n = len(products)
        keep = n - round_.byzantine
        mixing, low = torch.zeros_like(products), 0
        for block in distance_blocks(products):
            block.diagonal(low).fill_(-1)  # i itself first, even among equals
            near = block.sort(dim=1, stable=True).indices[:, :keep]  # [b, n − f]
            mixing[low : low + len(block)].scatter_(1, near, 1 / keep)
            low += len(block)
        return mixing
