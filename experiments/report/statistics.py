"""Means with confidence intervals, paired tests, Holm's correction and the Pareto front. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from scipy import stats

LEVEL = 0.95
FEWEST = 3
"""Seeds from which there are intervals and tests: of two, t with one degree of freedom says nothing."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` seeds; ``half`` is half the width of its confidence interval, None for under FEWEST.

    seeds: the values by seed, to show in place of an interval and to compare in pairs. over: the conditions
    of which these are means, where they are.
    """

    mean: float
    half: float | None
    n: int
    seeds: Mapping[int, float] = field(default_factory=dict, compare=False)
    over: frozenset[Hashable] = field(default=frozenset(), compare=False)

    @property
    def low(self) -> float:
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        return self.mean + (self.half or 0.0)


def estimate(by_seed: Mapping[int, float]) -> Estimate | None:
    """mean ± t_{.975, n−1} · s / √n, with s the sample standard deviation (n − 1); None without values."""
    values = list(by_seed.values())
    if not values:
        return None
    n, mean = len(values), math.fsum(values) / len(values)
    if n < FEWEST:
        return Estimate(mean, None, n, by_seed)
    spread = float(np.std(values, ddof=1))
    return Estimate(mean, float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * spread / math.sqrt(n), n, by_seed)


@dataclass(frozen=True)
class Paired:
    """Mean difference a − b over ``n`` pairs and the two-sided p of the paired t test."""

    difference: float
    p: float
    n: int


def paired(a: Mapping[Key, float], b: Mapping[Key, float]) -> Paired | None:
    """Paired t test over the keys (seeds) that both have; None for fewer than FEWEST pairs.

    t = d̄ / (s_d / √n) with n − 1 degrees of freedom. Differences that are all 0 give p = 1. Others that are
    all the same, as where exposure is 100 % in each run, have no spread to tell chance by: None, and not the
    limit p = 0.
    """
    common = [key for key in a if key in b]
    if len(common) < FEWEST:
        return None
    differences = np.array([a[key] - b[key] for key in common])
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread <= 1e-12 * abs(mean) or spread == 0.0:
        return Paired(mean, 1.0, len(common)) if mean == 0 else None
    t = mean / (spread / math.sqrt(len(common)))
    return Paired(mean, float(2 * stats.t.sf(abs(t), len(common) - 1)), len(common))


def holm(ps: Sequence[float]) -> list[float]:
    """Step-down adjusted p values: p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) · p_(j)), in the given order.

    Keeps the family-wise error below α whatever the dependence (Holm 1979, Scand. J. Statist. 6).
    """
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted


def outstanding(values: Sequence[Estimate], kind: Literal["high", "low"]) -> int | None:
    """The place of the value that is better than each other in a paired t test over seeds, p < .05 by Holm.

    None where there is none: no two values, under FEWEST seeds, or a difference that seeds could have made.
    """
    if len(values) < 2:
        return None
    sign = 1.0 if kind == "high" else -1.0
    top = max(range(len(values)), key=lambda i: sign * values[i].mean)
    tests = [paired(values[top].seeds, one.seeds) for i, one in enumerate(values) if i != top]
    if any(test is None or sign * test.difference <= 0 for test in tests):
        return None
    ps = holm([test.p for test in tests if test is not None])
    return top if max(ps) < 1 - LEVEL else None


def seed_means(values: Mapping[tuple[Hashable, int], float]) -> dict[int, float]:
    """Mean over conditions for every seed, from (condition, seed) -> value.

    Only conditions that every seed has are averaged, so that seeds differ by chance and not by what
    was measured; where no condition is shared, every seed averages what it has.
    """
    seeds, whole = sorted({seed for _, seed in values}), averaged(values)
    found = {seed: [v for (c, s), v in values.items() if s == seed and c in whole] for seed in seeds}
    return {seed: math.fsum(all_) / len(all_) for seed, all_ in found.items() if all_}


def averaged(values: Iterable[tuple[Hashable, int]]) -> set[Hashable]:
    """The conditions that :func:`seed_means` averages over."""
    by_condition: dict[Hashable, set[int]] = {}
    for condition, seed in values:
        by_condition.setdefault(condition, set()).add(seed)
    seeds = set().union(*by_condition.values())
    return {c for c, found in by_condition.items() if found == seeds} or set(by_condition)


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points no other point beats: at least as high in both and higher in one."""
    return [not any(u >= x and v >= y and (u > x or v > y) for u, v in points) for x, y in points]
