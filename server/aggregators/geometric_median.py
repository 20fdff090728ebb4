"""Geometric median (RFA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import count, positive
from server.aggregators.base import GramRule, Round, State, Weighed
from server.aggregators.gram import distance_blocks, middle, squared_distances_to

CANCELLATION = 1e-7
"""‖u_i − v‖ below this share of the typical ‖u‖ is rounding: √ε of float64, with a margin."""


@dataclass(frozen=True)
class GeometricMedian(GramRule):
    """argmin_v Σ‖u_i − v‖ by smoothed Weiszfeld, on weights alone: w_i ∝ 1/max(ν·s, ‖u_i − Σ w_j u_j‖).

    Distances come from the Gram matrix, so an iteration costs O(n²) and the updates are read twice.
    s is the typical distance between two devices (the median over i of the median over the others): an
    absolute ν larger than the updates would make it the plain mean. Starts at the mean and stops when
    v moves less than ``tolerance``·s. Complexity O(n²·P). Breakdown point 1/2.
    Reference: arXiv 1912.13445.
    """

    name: ClassVar[str] = "geometric_median"
    smoothing: float = 1e-6
    max_iterations: int = 100
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        positive(smoothing=self.smoothing, tolerance=self.tolerance)
        count(1, max_iterations=self.max_iterations)

    def weigh(self, products: Tensor, state: State, round_: Round) -> Weighed:
        weights, steps = self.centre(products)
        return Weighed(weights, state, {"geometric_median.iterations": float(steps)})

    def centre(self, products: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, int]:
        """Weights [n] (float64, sum 1) of the geometric median from G [n, n]; iterations spent.

        ``sizes`` [n] > 0 count device i's distance size_i times.
        """
        n = len(products)
        sizes = products.new_ones(n) if sizes is None else sizes
        weights = sizes / sizes.sum()
        blocks = distance_blocks(products)
        near = torch.cat(
            [block.kthvalue(n // 2 + 1, dim=1).values for block in blocks]
        )  # the first is i itself
        scale = float(middle(near).sqrt())
        rounding = CANCELLATION * float(middle(products.diagonal().clamp_min(0)).sqrt())
        floor = max(self.smoothing * scale, rounding, 1e-150)
        for steps in range(self.max_iterations):
            pull = sizes / squared_distances_to(products, weights).sqrt().clamp_min(floor)
            new = pull / pull.sum()
            moved = float(_length(products, new - weights))
            weights = new
            if moved <= self.tolerance * scale:
                return weights, steps + 1
        return weights, self.max_iterations


def _length(products: Tensor, combination: Tensor) -> Tensor:
    """‖Σ c_i u_i‖ from G and c."""
    return torch.sqrt((combination @ products @ combination).clamp_min(0))
