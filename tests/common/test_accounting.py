"""ε of clipped updates with noise, against the accountant of others, a sampled loss and known values."""

from __future__ import annotations

import math

import pytest
from scipy.integrate import quad
from scipy.stats import norm

from common.accounting import DELTA, delta, gaussian_mu, local_epsilon


@pytest.mark.parametrize("mu", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 6.0])
def test_delta_is_the_hockey_stick_divergence(mu: float, epsilon: float) -> None:
    """δ(ε) = ∫ max(0, p − e^ε q) of N(μ, 1) against N(0, 1), by quadrature."""
    crossing = epsilon / mu + mu / 2
    expected, _ = quad(
        lambda x: norm.pdf(x - mu) - math.exp(epsilon) * norm.pdf(x), crossing, crossing + 40, epsabs=1e-13
    )
    assert delta(epsilon, mu) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("noise", [0.01, 0.5, 2.0, 40.0, 1e4])
@pytest.mark.parametrize("rounds", [1, 27, 10_000])
def test_epsilon_is_the_smallest_that_keeps_delta(noise: float, rounds: int) -> None:
    epsilon, mu = local_epsilon(noise, rounds), gaussian_mu(noise, rounds)
    assert delta(epsilon, mu) <= DELTA * (1 + 1e-6)
    if epsilon > 0:
        assert delta(epsilon * (1 - 1e-4), mu) > DELTA


def test_more_noise_and_fewer_rounds_cost_less() -> None:
    assert local_epsilon(1.0, 4) == pytest.approx(local_epsilon(0.5, 1))
    assert local_epsilon(2.0, 10) < local_epsilon(1.0, 10) < local_epsilon(1.0, 20)
    assert local_epsilon(1.0, 0) == 0.0


@pytest.mark.parametrize(("noise", "rounds"), [(2.0, 1), (5.0, 10), (20.0, 27), (1.0, 3)])
def test_it_agrees_with_dp_accounting(noise: float, rounds: int) -> None:
    """The event is the same mechanism: sensitivity 2C, so a noise multiplier of σ/2, ``rounds`` times."""
    dp = pytest.importorskip("dp_accounting")
    pld = pytest.importorskip("dp_accounting.pld")
    accountant = pld.PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(dp.SelfComposedDpEvent(dp.GaussianDpEvent(noise / 2), rounds))
    assert local_epsilon(noise, rounds) == pytest.approx(accountant.get_epsilon(DELTA), rel=5e-3)


@pytest.mark.parametrize(("noise", "rounds"), [(2.0, 1), (0.7, 1), (20.0, 27)])
def test_two_opposite_updates_are_told_apart_as_often_as_delta_says(noise: float, rounds: int) -> None:
    """δ(0) is the total variation: the mean of T updates at C or −C has the width σC/√T."""
    drawn = norm(loc=1.0, scale=noise / math.sqrt(rounds))
    assert delta(0.0, gaussian_mu(noise, rounds)) == pytest.approx(drawn.sf(0.0) - drawn.cdf(0.0))
