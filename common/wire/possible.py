"""Which sums of ranking metrics some set of n devices can have; nothing else is counted.

A device of rank r = 0, 1, … has HR@k = [r < k], NDCG@k = HR@k / log2(r + 2) and RR = 1 / (r + 1). Cut
the ranks into bands 0..4, 5..9, 10..19 and 20 on, with h_b devices in band b (h_b = HR@k_b - HR@k_(b-1), and
n - HR@20 in the last). Then, summed over the n devices and each with a slack for rounding:

* 0 ≤ HR@5 ≤ HR@10 ≤ HR@20 ≤ n
* h_b / log2(k_b + 1) ≤ NDCG@k_b - NDCG@k_(b-1) ≤ h_b / log2(k_(b-1) + 2), hence NDCG is monotone,
  NDCG@k ≤ HR@k and NDCG@k ≥ HR@k / log2(k + 1)
* Σ_b h_b / k_b ≤ MRR ≤ NDCG@20 + (n - HR@20) / 21, and MRR ≤ Σ_b h_b / (k_(b-1) + 1) + (n - HR@20) / 21
* each metric with seen items filtered ≥ the same unfiltered: filtering takes rivals away

ER@k and T-NDCG@k of a target are HR@k and NDCG@k of its own rank, over the devices without it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.tasks import CUTS, METRICS
from common.wire.numbers import finite
from common.wire.reasons import Reason, fail

TOLERANCE = 1e-4
"""Relative slack of sums that must agree: nodes may add in another order or precision."""

FIRST = torch.tensor([0, *CUTS[:-1]], dtype=torch.float64)
LAST = torch.tensor(CUTS, dtype=torch.float64) - 1
"""The smallest and the largest rank of each band but the last."""


def possible_metrics(metrics: Tensor, count: Tensor, exact: bool = True) -> None:
    """Metrics float64 [g, len(METRICS)] of groups of ``count`` int64 [g] devices. Raises WireError.

    exact: False for randomised ranks, where filtered and unfiltered ones are drawn apart.
    """
    finite("metrics", metrics)
    half = len(METRICS) // 2
    for part in (metrics[:, :half], metrics[:, half:]):
        _ranking("metrics", part[:, : half - 1], count)
        _reciprocal(part, count)
    if exact and bool((metrics[:, half:] > metrics[:, :half] + _slack(count)).any()):
        fail("metrics", Reason.RANGE, "an unfiltered metric is larger than the filtered one")


def possible_exposure(exposure: Tensor, eligible: Tensor) -> None:
    """Exposures float64 [t, len(EXPOSURES)] over ``eligible`` int64 [t] devices. Raises WireError."""
    finite("exposure", exposure)
    _ranking("exposure", exposure, eligible)


def _slack(count: Tensor) -> Tensor:
    return TOLERANCE * (1 + count.double()[:, None])  # [g, 1]


def _ranking(field: str, values: Tensor, count: Tensor) -> None:
    """Hits at each cut, then gains at each: [g, 2 · len(CUTS)]."""
    hits, gains = values[:, : len(CUTS)], values[:, len(CUTS) :]
    slack, n = _slack(count), count.double()[:, None]
    if bool((values < 0).any()) or bool((hits > n + slack).any()) or bool((gains > n + slack).any()):
        fail(field, Reason.RANGE, "a sum is negative or larger than the number of devices")
    inside, gained = _steps(hits), _steps(gains)
    if bool((inside < -slack).any()):
        fail(field, Reason.RANGE, "fewer hits at a larger cut")
    low, high = inside / torch.log2(LAST + 2), inside / torch.log2(FIRST + 2)
    if bool(((gained < low - slack) | (gained > high + slack)).any()):
        fail(field, Reason.RANGE, "gains that no ranks with these hits have")


def _reciprocal(values: Tensor, count: Tensor) -> None:
    """MRR, the last column of [g, 2 · len(CUTS) + 1], against the hits and gains before it."""
    hits, best, mrr = values[:, : len(CUTS)], values[:, 2 * len(CUTS) - 1], values[:, -1]
    slack, inside = _slack(count)[:, 0], _steps(hits)
    beyond = (count.double() - hits[:, -1]).clamp(min=0) / (CUTS[-1] + 1)  # [g]
    low = (inside / (LAST + 1)).sum(1)
    high = torch.minimum(best, (inside / (FIRST + 1)).sum(1)) + beyond
    if bool(((mrr < low - slack) | (mrr > high + slack)).any()):
        fail("metrics", Reason.RANGE, "an MRR that no ranks with these hits have")


def _steps(values: Tensor) -> Tensor:
    """What each band adds: [g, len(CUTS)]."""
    return values.diff(dim=1, prepend=torch.zeros(len(values), 1, dtype=values.dtype))
