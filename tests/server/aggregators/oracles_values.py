"""Slow, obvious float64 versions of the rules that read values: u [n, p] -> aggregate [p]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from tests.server.aggregators import oracles
from tests.server.aggregators.oracles import Values


def by_column(rule: Callable[[list[float]], float], u: Values) -> Values:
    return np.array([rule(sorted(float(x) for x in u[:, k])) for k in range(u.shape[1])])


def middle(x: list[float]) -> float:
    n = len(x)
    return x[n // 2] if n % 2 else (x[n // 2 - 1] + x[n // 2]) / 2


def cut(x: list[float], tail: int) -> float:
    kept = x[tail : len(x) - tail]
    return sum(kept) / len(kept)


def around(x: list[float], centre: float, keep: int) -> float:
    """Mean of the ``keep`` values nearest to the centre; the ones that tie for the last places share them."""
    distances = sorted(abs(v - centre) for v in x)
    radius = distances[keep - 1]
    sure = [v for v in x if abs(v - centre) < radius]
    rim = [v for v in x if abs(v - centre) == radius]
    return (sum(sure) + (keep - len(sure)) * sum(rim) / len(rim)) / keep


def trimmed_mean(u: Values, b: int) -> Values:
    return by_column(lambda x: cut(x, b), u)


def meamed(u: Values, f: int) -> Values:
    return by_column(lambda x: around(x, middle(x), len(x) - f), u)


def phocas(u: Values, f: int) -> Values:
    return by_column(lambda x: around(x, cut(x, f), len(x) - f), u)


def rlr(u: Values, theta: float, below: str = "flip") -> Values:
    def settle(x: list[float]) -> float:
        mean = sum(x) / len(x)
        if abs(sum((v > 0) - (v < 0) for v in x)) >= theta:
            return mean
        return -mean if below == "flip" else 0.0

    return by_column(settle, u)


def picked(u: Values, f: int) -> list[int]:
    """The n − 2f indices that Bulyan takes, every score from scratch."""
    left = list(range(len(u)))
    chosen: list[int] = []
    while len(chosen) < len(u) - 2 * f:
        nearest = max(len(left) - f - 2, 1)

        def score(i: int, nearest: int = nearest) -> tuple[float, float]:
            distances = sorted(float(((u[i] - u[j]) ** 2).sum()) for j in left if j != i)
            return round(sum(distances[:nearest]), 9), sum(distances)

        best = min(left, key=score)
        chosen.append(best)
        left.remove(best)
    return chosen


def bulyan_stage(chosen: Values, f: int) -> Values:
    """Bulyan's second stage on the votes of those picked; of few votes one is kept."""
    return by_column(lambda x: around(x, middle(x), max(1, len(x) - 2 * f)), chosen)


def bulyan(u: Values, f: int) -> Values:
    return bulyan_stage(u[picked(u, f)], f)


def few(m: int, f: int) -> int:
    """How many of m votes a majority can do without, at most f."""
    return min(f, (m - 1) // 2)


Oracle = Callable[[Values, int], Values]
"""The rule on the votes of one row, [m, d] -> [d], against f."""

COORDINATE: dict[str, Oracle] = {
    "median": lambda u, f: oracles.median(u),
    "trimmed_mean": lambda u, f: trimmed_mean(u, few(len(u), f)),
    "meamed": lambda u, f: meamed(u, few(len(u), f)),
    "phocas": lambda u, f: phocas(u, few(len(u), f)),
    "rlr": lambda u, f: rlr(u, min(f + 1, len(u)) if f else 0),
}
"""Every rule that takes an electorate and has no other stage."""


def check(ours: Tensor, expected: Values) -> None:
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-6)
