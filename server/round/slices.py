"""Which items a round trains: K of them, drawn without replacement by popularity."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 5.0
POWER = 0.5


def draw_weights(popularity: Tensor, power: float = POWER) -> Tensor:
    """w_i = (popularity_i + 5)^power, popularity clamped at 0: bounded, so no claim keeps an item out."""
    return (popularity.double().clamp(min=0.0) + FLOOR) ** power


def inclusion(weights: Tensor, size: int) -> Tensor:
    """Inclusion probabilities q_i = 1 − exp(−w_i τ) with τ such that Σ q_i = size.

    This is how often item i is among the ``size`` first of the exponential race of :func:`draw_slice`
    (Rosén 1972); for size = N all are 1.
    """
    if size >= len(weights):
        return torch.ones_like(weights)
    low, high = 0.0, 1.0
    while float((1 - torch.exp(-weights * high)).sum()) < size:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if float((1 - torch.exp(-weights * middle)).sum()) < size:
            low = middle
        else:
            high = middle
    return 1 - torch.exp(-weights * high)


def draw_slice(
    popularity: Tensor, size: int, generator: torch.Generator, power: float = POWER
) -> tuple[Tensor, Tensor]:
    """Items int32 [K], sorted, and log q float32 [K]; popularity [N] is of items 1..N.

    Each item finishes a race after Exp(1)/w_i; the first K are the slice.
    """
    weights = draw_weights(popularity, power)
    size = min(size, len(weights))
    finish = -torch.log1p(-torch.rand(len(weights), generator=generator, dtype=torch.float64)) / weights
    chosen = finish.topk(size, largest=False).indices.sort().values  # [K]
    log_q = inclusion(weights, size)[chosen].log()
    return (chosen + 1).to(torch.int32), log_q.float()
