"""Losses against their formulas in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from client.losses import LOSSES, bce, corrected, gbce, softmax

L, K, N = 5, 9, 40


def scores(seed: int = 0, size: float = 3.0) -> Tensor:
    return size * torch.randn(L, K, generator=torch.Generator().manual_seed(seed))


TARGET = torch.tensor([0, 3, 8, 3, 5])
EVERY = torch.ones(K, dtype=torch.bool)
SOME = torch.tensor([True, False, False, True, True, True, False, True, True])


def one(values: list[float], place: int, chosen: list[bool], name: str, t: float = 0.75) -> float:
    """The loss of one position, in Python floats."""
    negatives = [s for i, s in enumerate(values) if chosen[i] and i != place]
    if "softmax" in name:
        return math.log(sum(math.exp(s) for s in [*negatives, values[place]])) - values[place]
    alpha = len(negatives) / (N - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    positive = math.log(1 + math.exp(-values[place]))
    pushed = sum(-math.log(1 - 1 / (1 + math.exp(-s))) for s in negatives)
    return (beta if name == "gbce" else 1.0) * positive + pushed


@pytest.mark.parametrize("candidates", [EVERY, SOME], ids=["every", "some"])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_each_position_is_its_formula(name: str, candidates: Tensor) -> None:
    values = scores()
    found = LOSSES[name](values, TARGET, candidates, N)
    expected = [
        one(row, int(place), candidates.tolist(), name)
        for row, place in zip(values.double().tolist(), TARGET, strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_gbce_without_calibration_is_bce() -> None:
    args = (scores(), TARGET, SOME, N)
    assert torch.equal(gbce(*args, calibration=0.0), bce(*args))
    assert not torch.allclose(gbce(*args), bce(*args))


def test_gbce_over_the_whole_catalogue_is_bce() -> None:
    args = (scores(), TARGET, EVERY, K)  # α = 1, so β = 1 whatever t
    torch.testing.assert_close(gbce(*args), bce(*args))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_gradient_of_an_item_that_is_no_candidate_is_zero(name: str) -> None:
    values = scores().requires_grad_()
    LOSSES[name](values, TARGET, SOME, N).sum().backward()
    assert values.grad is not None
    assert not bool(values.grad[:, ~SOME].any())
    pull = values.grad.gather(1, TARGET[:, None])
    assert bool((pull < 0).all())  # the right item is pulled up
    others = SOME & (torch.arange(K) != TARGET[:, None])
    assert bool((values.grad[others] > 0).all())  # the others are pushed down


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("size", [80.0, 1e4])
def test_large_scores_stay_finite(name: str, size: float) -> None:
    values = scores(size=size).requires_grad_()
    loss = LOSSES[name](values, TARGET, SOME, N)
    loss.sum().backward()
    assert values.grad is not None
    assert bool(torch.isfinite(loss).all())
    assert bool(torch.isfinite(values.grad).all())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_lone_candidate_has_a_finite_loss(name: str) -> None:
    alone = torch.arange(K) == 3
    found = LOSSES[name](scores()[1:2], TARGET[1:2], alone, N)
    assert bool(torch.isfinite(found).all())
    if "softmax" in name:
        assert float(found) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_map_over_devices(name: str) -> None:
    values = torch.stack([scores(s) for s in range(4)])
    targets = torch.stack([TARGET.roll(s) for s in range(4)])
    loop = torch.stack([LOSSES[name](v, t, EVERY, N) for v, t in zip(values, targets, strict=True)])
    mapped = torch.func.vmap(lambda v, t: LOSSES[name](v, t, EVERY, N))(values, targets)
    torch.testing.assert_close(mapped, loop)


def test_only_softmax_is_corrected() -> None:
    log_q = torch.linspace(-3, 0, K)
    assert torch.equal(corrected("softmax", scores(), TARGET, log_q), scores() - log_q)
    assert torch.equal(corrected("bce", scores(), TARGET, log_q), scores())
    assert torch.equal(corrected("gbce", scores(), TARGET, log_q), scores())


def test_sampled_softmax_corrects_all_but_the_target() -> None:
    log_q = torch.linspace(-3, -1, K)
    found = scores() - corrected("sampled_softmax", scores(), TARGET, log_q)
    for row, place in zip(found, TARGET.tolist(), strict=True):
        expected = log_q.clone()
        expected[place] = 0.0
        torch.testing.assert_close(row, expected)
    assert torch.equal(corrected("sampled_softmax", scores(), TARGET, None), scores())


def test_the_correction_does_nothing_over_the_whole_catalogue() -> None:
    found = softmax(corrected("softmax", scores(), TARGET, torch.zeros(K)), TARGET, EVERY, K)
    torch.testing.assert_close(found, softmax(scores(), TARGET, EVERY, K))


def test_the_correction_makes_the_sampled_partition_sum_right_on_average() -> None:
    """E Σ_{j in S} e^{s_j} / q_j = Σ_j e^{s_j}: without the correction rare items are pushed too little."""
    g = torch.Generator().manual_seed(4)
    logits = torch.randn(200, generator=g).double()
    q = 0.1 + 0.8 * torch.rand(200, generator=g).double()
    whole = float(logits.exp().sum())
    drawn = torch.rand(4000, 200, generator=g, dtype=torch.float64) < q  # [draws, N]
    fixed = corrected("softmax", logits, TARGET, q.log()).exp()
    assert float((drawn * fixed).sum(1).mean()) == pytest.approx(whole, rel=0.01)
    assert float((drawn * logits.exp()).sum(1).mean()) < 0.8 * whole


def test_the_corrected_gradient_points_like_the_full_one() -> None:
    """Mean gradient over many slices against the full softmax, for positions whose target is drawn."""
    g = torch.Generator().manual_seed(6)
    logits = torch.randn(30, generator=g)
    q = torch.linspace(0.3, 0.95, 30)
    target = torch.tensor([7])
    full = logits.clone().requires_grad_()
    softmax(full[None], target, torch.ones(30, dtype=torch.bool), 30).sum().backward()

    def mean_gradient(log_q: Tensor) -> Tensor:
        total = torch.zeros(30)
        for _ in range(1500):
            inside = torch.rand(30, generator=g) < q
            inside[7] = True
            values = logits.clone().requires_grad_()
            softmax(corrected("softmax", values, target, log_q)[None], target, inside, 30).sum().backward()
            assert values.grad is not None
            total += values.grad
        return total / 1500

    assert full.grad is not None
    log_q = q.log()
    log_q[7] = 0.0  # the target is there for certain
    fixed, raw = (float((mean_gradient(x) - full.grad).norm()) for x in (log_q, torch.zeros(30)))
    assert fixed < 0.5 * raw
