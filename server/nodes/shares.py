"""What one node may stand for, and how long histories are: pure functions of what all nodes enrolled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SHARE, SLACK = 0.1, 1.5
"""What one node may hold: a tenth of all devices, or half more than the median node where nodes are few."""


def allowance(counts: Sequence[int]) -> int:
    """Devices one node may stand for, from the claims of all: max(c, 1.5 · median), c = .1 · Σ min(n_i, c).

    c is a tenth of all devices when no claim counts for more than that. With ten nodes or fewer a tenth is
    less than an equal share; then one node has half more than the median, and so less than half of all from
    three nodes on. One or two nodes are not cut: no one could say which of them claims too much. Nodes
    without a device do not count: they would make the median small for all others.
    """
    counts = [count for count in counts if count]
    if len(counts) < 3:
        return max(counts, default=1)
    claimed = torch.tensor(counts, dtype=torch.float64)
    median = SLACK * float(claimed.median())
    tenth, before = SHARE * float(claimed.sum()), math.inf
    while median < tenth < before - 1e-3:
        tenth, before = SHARE * float(claimed.clamp(max=tenth).sum()), tenth
    return max(1, math.floor(tenth + 1e-2), math.floor(median))


def quartiles(lengths: Tensor) -> tuple[int, int, int]:
    """The lower medians of [n] at 25, 50 and 75 %; zeros without devices."""
    if not len(lengths):
        return (0, 0, 0)
    first, second, third = (int(lengths.kthvalue((len(lengths) - 1) * k // 4 + 1).values) for k in (1, 2, 3))
    return first, second, third
