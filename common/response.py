"""Randomised response: a rank is told as one of 21 buckets, often by chance; sums are freed of the chance."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import torch
from torch import Tensor

from common.metrics import rank_values
from common.tasks import CUTS, EvaluateSums

BUCKETS = CUTS[-1] + 1
"""Ranks 0 to 19 by themselves, and one bucket for all that are larger."""

LAST = 2**40
"""The rank that the last bucket stands for: no hit, no gain, and a reciprocal of 1e-12."""

EPSILONS = (1.0, 16.0)
"""What a device may choose: less would let one answer move as much as 34 exact ones, more hides nothing."""


def kept(epsilon: float) -> float:
    """λ, the chance that a rank stands as it is: ε is spent on two ranks, filtered and not, half on each.

    λ = (e^(ε/2) - 1) / (e^(ε/2) + 20); a bucket is told with at most e^(ε/2) times the chance that another
    rank would give it (k-ary randomised response, Kairouz et al., ICML 2016).
    """
    power = math.exp(epsilon / 2)
    return (power - 1) / (power + BUCKETS - 1)


def randomise(ranks: Tensor, epsilon: float, chance: Random) -> Tensor:
    """Each 0-based rank (int64) with chance λ as its bucket, else as one drawn uniformly from all 21."""
    share = kept(epsilon)
    told = [
        min(rank, BUCKETS - 1) if chance.random() < share else chance.randrange(BUCKETS)
        for rank in ranks.flatten().tolist()
    ]
    return torch.tensor([LAST if t == BUCKETS - 1 else t for t in told], dtype=torch.int64).view_as(ranks)


def noise_means() -> Tensor:
    """ū, the mean of every metric over the buckets: float64 [len(METRICS)]."""
    ranks = torch.tensor([*range(BUCKETS - 1), LAST])
    return rank_values(ranks, ranks).mean(0)


def debias(sums: EvaluateSums) -> EvaluateSums:
    """``sums`` with the chance taken off: E[m'] = λ m + (1 - λ) n ū, so m = (m' - (1 - λ) n ū) / λ.

    Unbiased, and for a few devices often outside [0, n]. Exact sums (ε = 0) stay as they are.
    """
    if sums.epsilon == 0:
        return sums
    share = kept(sums.epsilon)
    chance = (1 - share) * sums.count.double()[:, None] * noise_means()  # [g, M]
    return replace(sums, metrics=(sums.metrics - chance) / share)


def variance(share: float, mean: float, noise: float) -> float:
    """Of one device's 0-or-1 metric after :func:`debias`: q (1 - q) / λ² with q = λ mean + (1 - λ) ū."""
    told = share * mean + (1 - share) * noise
    return told * (1 - told) / share**2
