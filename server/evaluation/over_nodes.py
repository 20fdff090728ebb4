"""Statistics over nodes, which one node moves little whatever it says, and which nodes stand far apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from common.metrics import exposures, means
from common.response import kept, noise_means, variance
from common.tasks import METRICS, EvaluateSums

LEAST = 3
"""Nodes below which there is no middle to speak of."""

TRIM = 0.2
FAR = 5.0
"""Standard deviations."""

WATCHED = ("hr@10", "ndcg@10", "er@10")


def over_nodes(parts: Mapping[int, EvaluateSums]) -> dict[str, Any]:
    """Median and 20 % trimmed mean of the nodes' means, a node one voice; empty of less than three nodes.

    Trimmed: without the largest and the smallest ⌊n/5⌋ (Wilcox, *Robust Estimation*, 2012). Only nodes that
    answered exactly: the few values of randomised response have no middle.
    """
    told = [values for values, _ in _by_node(parts).values()]
    if len(told) < LEAST:
        return {}
    names = [name for name in told[0] if sum(name in one for one in told) >= LEAST]
    columns = {name: [one[name] for one in told if name in one] for name in names}
    return {
        "nodes": len(told),
        "median": {name: median(values) for name, values in columns.items()},
        "trimmed_mean": {name: _trimmed(values) for name, values in columns.items()},
    }


def far_outside(parts: Mapping[int, EvaluateSums]) -> dict[int, str]:
    """Node -> which of its means lie more than 5 σ from the median m of all nodes, and how far.

    σ² = (1.4826 MAD)² + p (1 - p) / n for its n devices: the variance of a mean of n values in [0, 1]. p is
    (n m + 1) / (n + 2), not m, so that the one hit of a node with one user is no wonder where m is small.
    """
    told = _by_node(parts)
    found: dict[int, list[str]] = {}
    for name in WATCHED:
        values = {node: (one[name], sizes[name]) for node, (one, sizes) in told.items() if name in one}
        if len(values) < LEAST:
            continue
        middle = median(value for value, _ in values.values())
        spread = 1.4826 * median(abs(value - middle) for value, _ in values.values())
        for node, (value, n) in values.items():
            p = min(1.0, (n * middle + 1) / (n + 2))  # sums may be a rounding above what n devices have
            sigma = math.sqrt(spread**2 + p * (1 - p) / n)
            if abs(value - middle) > FAR * sigma:
                found.setdefault(node, []).append(f"{name} {value:.4f}, median {middle:.4f}")
    return {node: "; ".join(all_) for node, all_ in sorted(found.items())}


def widened(parts: Sequence[EvaluateSums], weights: Sequence[float], mean: float) -> float:
    """How many times as wide an interval of HR@10 is as if all devices of ``parts`` had answered exactly.

    sqrt of the variance Σ w² n v(λ) over Σ w² n v(1), with v of :func:`common.response.variance` at the
    reported ``mean``, kept half a device away from 0 and 1.
    """
    n = sum(int(part.count[0]) for part in parts)
    noise = float(noise_means()[METRICS.index("hr@10")])
    mean = min(max(mean, 0.5 / n), 1 - 0.5 / n)
    with_noise = without = 0.0
    for part, weight in zip(parts, weights, strict=True):
        share = kept(part.epsilon) if part.epsilon else 1.0
        squares = weight**2 * int(part.count[0])
        with_noise += squares * variance(share, mean, noise)
        without += squares * variance(1.0, mean, noise)
    return math.sqrt(with_noise / without) if without else 1.0


def _by_node(
    parts: Mapping[int, EvaluateSums],
) -> dict[int, tuple[dict[str, float], dict[str, int]]]:
    """Means, and the devices behind each, of the nodes that answered exactly about some device."""
    found = {}
    for node, part in parts.items():
        if part.epsilon or not int(part.count[0]):
            continue
        values, exposed = means(part)["all"], exposures(part)
        eligible = int(part.eligible.max()) if len(part.eligible) else 0
        sizes = dict.fromkeys(values, int(part.count[0])) | dict.fromkeys(exposed, eligible)
        found[node] = (values | exposed, sizes)
    return found


def _trimmed(values: Sequence[float]) -> float:
    cut = int(TRIM * len(values))
    return fmean(sorted(values)[cut : len(values) - cut])
