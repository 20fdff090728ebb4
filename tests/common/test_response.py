"""Randomised response: what it hides, and that its sums are right on average."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch

from common.metrics import rank_values
from common.response import BUCKETS, EPSILONS, LAST, debias, kept, noise_means, randomise, variance
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums

RANKS = [0, 3, 7, 19, 40, 2000]


def told(metrics: torch.Tensor, count: int, epsilon: float) -> EvaluateSums:
    """``metrics`` as the sums of ``count`` devices."""
    values = torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64)
    values[0] = metrics
    none = torch.zeros(0, dtype=torch.int64)
    exposure = torch.zeros(0, len(EXPOSURES), dtype=torch.float64)
    return EvaluateSums(values, torch.tensor([count, 0, 0, 0, 0]), exposure, none, epsilon=epsilon)


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 8.0, 16.0])
def test_no_answer_is_much_likelier_for_one_rank_than_for_another(epsilon: float) -> None:
    """Pr[told | rank] is λ + (1 - λ)/21 for the own bucket, (1 - λ)/21 for any other: e^(ε/2) apart."""
    share = kept(epsilon)
    own, other = share + (1 - share) / BUCKETS, (1 - share) / BUCKETS
    assert math.log(own / other) == pytest.approx(epsilon / 2)
    assert own + (BUCKETS - 1) * other == pytest.approx(1)


@pytest.mark.parametrize("rank", [0, 12, 19, 20, 5000])
def test_buckets_are_told_as_often_as_the_formula_says(rank: int) -> None:
    draws, epsilon = 40_000, 3.0
    found = randomise(torch.full((draws,), rank), epsilon, Random(rank))
    share = kept(epsilon)
    for bucket in range(BUCKETS):
        expected = share * (bucket == min(rank, 20)) + (1 - share) / BUCKETS
        seen = int((found == (bucket if bucket < 20 else LAST)).sum()) / draws
        assert abs(seen - expected) < 4.5 * math.sqrt(expected * (1 - expected) / draws), bucket


@pytest.mark.parametrize("epsilon", [EPSILONS[0], 3.0, 16.0])
def test_debiased_sums_are_unbiased(epsilon: float) -> None:
    """Within four standard errors of the mean over many answers of one node with six devices."""
    chance, times = Random(7), 4000
    ranks = torch.tensor(RANKS)
    true = rank_values(ranks.where(ranks < 20, LAST), ranks.where(ranks < 20, LAST)).sum(0)
    many = randomise(torch.stack([ranks, ranks]).expand(times, 2, -1), epsilon, chance)
    sums = rank_values(many[:, 0].flatten(), many[:, 1].flatten()).view(times, len(RANKS), -1).sum(1)
    found = torch.stack([debias(told(row, len(RANKS), epsilon)).metrics[0] for row in sums])  # [times, M]
    error = found.std(0) / math.sqrt(times)
    assert bool(((found.mean(0) - true).abs() < 4 * error + 1e-9).all())
    raw = (sums.mean(0) - true).abs() / (sums.std(0) / math.sqrt(times) + 1e-12)
    assert epsilon > 10 or float(raw.max()) > 10  # as told they are far off


def test_exact_sums_are_left_alone() -> None:
    exact = told(torch.ones(len(METRICS)), 3, 0.0)
    assert debias(exact) is exact


def test_the_variance_is_that_of_one_device() -> None:
    share, place = kept(3.0), METRICS.index("hr@10")
    noise = float(noise_means()[place])
    assert noise == pytest.approx(10 / 21)
    hit = randomise(torch.zeros(60_000, dtype=torch.int64), 3.0, Random(3)) < 10
    told_ = (hit.double() - (1 - share) * noise) / share
    assert float(told_.mean()) == pytest.approx(1, abs=4 * float(told_.std()) / math.sqrt(60_000))
    assert float(told_.var()) == pytest.approx(variance(share, 1.0, noise), rel=0.03)
    assert variance(1.0, 0.3, noise) == pytest.approx(0.21)
