"""Slow, obvious float64 versions of the rules: u [n, p] -> aggregate [p]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def mean(u: Values) -> Values:
    return u.sum(axis=0) / len(u)


def norm_clip(u: Values, bound: float | None = None) -> Values:
    if bound is None:
        bound = float(np.median([np.linalg.norm(row) for row in u]))
    return mean(np.stack([row * min(1.0, bound / np.linalg.norm(row)) for row in u]))


def median(u: Values) -> Values:
    return np.median(u, axis=0)


def krum(u: Values, nearest: int, select: int = 1) -> Values:
    scores = []
    for i, row in enumerate(u):
        distances = [float(((row - other) ** 2).sum()) for j, other in enumerate(u) if j != i]
        scores.append(sum(sorted(distances)[:nearest]))
    best = sorted(range(len(u)), key=lambda i: (scores[i], i))[:select]
    return mean(u[best])


def geometric_median(u: Values, steps: int = 20_000) -> Values:
    """Weiszfeld on the vectors themselves, to the end."""
    v = mean(u)
    for _ in range(steps):
        weights = 1 / np.maximum(np.linalg.norm(u - v, axis=1), 1e-12)
        new = weights @ u / weights.sum()
        if np.linalg.norm(new - v) < 1e-13:
            break
        v = new
    return v


def cost(u: Values, v: Values) -> float:
    """Σ‖u_i − v‖, what the geometric median makes least."""
    return float(np.linalg.norm(u - v, axis=1).sum())
