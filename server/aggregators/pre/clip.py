"""Norm clipping before a rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import positive
from server.aggregators.base import Round
from server.aggregators.gram import middle, norms, shrink
from server.aggregators.pre.base import Mixer


@dataclass(frozen=True)
class Clip(Mixer):
    """u_i ← u_i·min(1, c/‖u_i‖) with c = ``max_norm``, or the median norm without it.

    Reference: arXiv 1911.07963.
    """

    max_norm: float | None = None

    name: ClassVar[str] = "clip"

    def __post_init__(self) -> None:
        if self.max_norm is not None:
            positive(max_norm=self.max_norm)

    def matrix(self, products: Tensor, round_: Round) -> Tensor:
        size = norms(products)  # [n]
        bound = middle(size) if self.max_norm is None else size.new_tensor(self.max_norm)
        return torch.diag(shrink(size, bound))
