"""Adaptive robust clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from server.aggregators.base import Round
from server.aggregators.gram import norms, shrink
from server.aggregators.pre.base import Mixer


@dataclass(frozen=True)
class Arc(Mixer):
    """Clip the k = ⌊2f(n − f)/n⌋ largest updates to the (k + 1)-th largest norm.

    Without attackers nothing is clipped. Reference: arXiv 2405.14432.
    """

    name: ClassVar[str] = "arc"

    def matrix(self, products: Tensor, round_: Round) -> Tensor:
        size, n, f = norms(products), len(products), round_.byzantine
        clipped = min(2 * f * max(n - f, 0) // n, n - 1)
        return torch.diag(shrink(size, size.sort(descending=True).values[clipped]))
