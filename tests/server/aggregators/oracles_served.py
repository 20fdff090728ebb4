"""Slow, obvious float64 versions of the rules that know more than the updates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.server.aggregators.oracles import Values, mean


def fltrust(u: Values, root: Values) -> Values:
    total, trusts = np.zeros_like(root), 0.0
    for row in u:
        size = np.linalg.norm(row) * np.linalg.norm(root)
        trust = max(0.0, float(row @ root) / size) if size > 0 else 0.0
        if trust > 0:
            total += trust * row * np.linalg.norm(root) / np.linalg.norm(row)
            trusts += trust
    return total / trusts if trusts > 0 else total


def two_means(x: list[float]) -> tuple[set[int], float]:
    """Every way to cut the sorted values in two: the members above the best cut, the squares within."""
    order = sorted(range(len(x)), key=lambda i: x[i])
    best: tuple[float, set[int]] = (np.inf, set())
    for cut in range(1, len(x)):
        parts = [np.array([x[i] for i in part]) for part in (order[:cut], order[cut:])]
        within = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
        if within < best[0]:
            best = (within, set(order[cut:]))
    return best[1], best[0]


def uniformity(rows: Values) -> float:
    m = len(rows)
    away = [float(np.linalg.norm(rows[i] - rows[j])) for i in range(m) for j in range(m) if i != j]
    return sum(away) / (m * (m - 1))


def union(u: Values, table_after: Callable[[int], Values], f: int) -> Values:
    """``table_after(u)``: the item rows after a step on device u alone. The gap test is left to its own."""
    spread = [uniformity(table_after(i)) for i in range(len(u))]
    high, _ = two_means(spread)
    small = high if 2 * len(high) < len(u) else set(range(len(u))) - high
    if 2 * len(small) == len(u) or len(small) > f:
        return mean(u)
    return mean(u[[i for i in range(len(u)) if i not in small]])


class FlDetector:
    """The rule over rounds on whole encoders: H as the matrix that BFGS builds, pair by pair."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.pairs: list[tuple[Values, Values]] = []
        self.last: dict[int, tuple[Values, Values]] = {}
        self.distances: dict[int, list[float]] = {}
        self.before: tuple[Values, Values] | None = None

    def hessian(self, size: int) -> Values:
        if not self.pairs:
            return np.zeros((size, size))
        s, y = self.pairs[-1]
        b = np.eye(size) * float(y @ s) / float(s @ s)
        for s, y in self.pairs:
            b = b - np.outer(b @ s, b @ s) / float(s @ b @ s) + np.outer(y, y) / float(y @ s)
        return b

    def scores(self, devices: list[int], u: Values, model: Values) -> dict[int, float]:
        """Scores of the devices that were met before, this round's distance in them."""
        b = self.hessian(len(model))
        away = {}
        for device, sent in zip(devices, u, strict=True):
            if device in self.last:
                old, then = self.last[device]
                away[device] = float(np.linalg.norm(old + b @ (model - then) - sent))
            self.last[device] = (sent, model)
        for device, distance in away.items():
            usual = sum(away.values()) / len(away)
            self.distances.setdefault(device, []).append(distance / usual)
        return {device: float(np.mean(self.distances[device][-self.window :])) for device in away}

    def learn(self, model: Values, aggregate: Values) -> None:
        if self.before is not None:
            self.pairs.append((model - self.before[0], aggregate - self.before[1]))
            self.pairs = self.pairs[-self.window :]
        self.before = (model, aggregate)
