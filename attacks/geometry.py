"""How far a point on a line through the honest updates is from each of them: inner products, then scalars."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Direction = Literal["unit", "sign", "std"]
DIRECTIONS = ("unit", "sign", "std")

SMALLEST = 1e-30
"""Where the search for γ begins: it has the unit of the updates, whatever their size."""


@dataclass(frozen=True)
class Line:
    """The points o + γ·∇ seen from updates g_1 … g_m; float64 throughout.

    square  ‖∇‖²;  along [m] = ⟨∇, g_i − o⟩;  start [m] = ‖g_i − o‖²;  pairs [m, m] = ‖g_i − g_j‖²
    """

    square: float
    along: Tensor
    start: Tensor
    pairs: Tensor

    @classmethod
    def through(cls, origin: Tensor, direction: Tensor, own: Tensor) -> Line:
        """origin [D], direction [D], own [m, D]; O(m²·D)."""
        away, towards = (own - origin).double(), direction.double()  # [m, D], [D]
        products = away @ away.T  # [m, m]
        start = products.diagonal()
        pairs = (start[:, None] + start[None, :] - 2 * products).clamp_min(0).fill_diagonal_(0)
        return cls(float(towards @ towards), away @ towards, start, pairs)

    def distances(self, gamma: float) -> Tensor:
        """‖o + γ∇ − g_i‖² -> [m]."""
        return (self.start - 2 * gamma * self.along + gamma**2 * self.square).clamp_min(0)


def against(kind: Direction, mean: Tensor, std: Tensor) -> Tensor:
    """∇ᵖ [D] of Shejwalkar & Houmansadr: −μ/‖μ‖ (unit), −sign μ (sign) or −σ (std)."""
    if kind == "std":
        return -std
    if kind == "sign":
        return -mean.sign()
    size = mean.norm()
    return -mean / size if size > 0 else mean.clone()


def largest(fits: Callable[[float], bool]) -> float:
    """The largest γ ≥ 0 that fits, by bisection, given that 0 fits and a set of fitting γ is an interval.

    Returns the lower bound of the last interval: it fits, which its middle may not. 0 where every γ fits,
    for then the direction is no direction, and where none above SMALLEST does.
    """
    low, high = 0.0, SMALLEST
    while fits(high):
        low, high = high, 2 * high
        if high > 1 / SMALLEST:
            return 0.0
    while low > 0 and not math.isclose(low, high, rel_tol=1e-9):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def krum_score(distances: Tensor, nearest: int) -> Tensor:
    """Sum of the ``nearest`` smallest of each row of distances [..., k] to others -> [...]."""
    return distances.sort(dim=-1).values[..., :nearest].sum(dim=-1)


def without_self(pairs: Tensor) -> Tensor:
    """The off-diagonal entries of each row: [m, m] -> [m, m − 1]."""
    m = len(pairs)
    return pairs[~torch.eye(m, dtype=torch.bool, device=pairs.device)].reshape(m, max(m - 1, 0))
