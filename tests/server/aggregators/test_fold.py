"""Folded vectors keep their inner products, for all who do not know the signs."""

from __future__ import annotations

import pytest
import torch

from server.aggregators.gram import cosines, inner_products
from server.aggregators.sketch import BLOCK, FOLD, fold, folded_cosines, symmetric


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_is_short_enough_stays_as_it_is() -> None:
    values = torch.randn(3, 4, 5, generator=drawn())
    assert torch.equal(fold(values, drawn(1)), values.flatten(1))
    assert fold(torch.zeros(2, FOLD + 1), drawn(1)).shape == (2, FOLD)


def test_it_is_the_signed_sum_of_places() -> None:
    values = torch.randn(2, 2 * FOLD + 3, generator=drawn())
    signs = torch.randint(0, 2, (values.shape[1],), generator=drawn(1)) * 2 - 1
    expected = torch.zeros(2, FOLD)
    for j in range(values.shape[1]):
        expected[:, j % FOLD] += values[:, j] * signs[j]
    torch.testing.assert_close(fold(values, drawn(1)), expected)


@pytest.mark.parametrize("heavy", [False, True], ids=["spread", "few places hold all"])
def test_cosines_are_true_to_two_hundredths(heavy: bool) -> None:
    values = torch.randn(12, 50_000, generator=drawn())
    if heavy:
        values *= torch.rand(50_000, generator=drawn(2)) ** 12
    values += 0.7 * values[0]
    exact, folded = cosines(inner_products(values)), folded_cosines(values, drawn(1))
    assert float((exact - folded).abs().max()) < 0.08
    assert float((exact - folded).square().mean().sqrt()) < 0.02


def test_what_would_cancel_under_one_sign_draw_does_not_under_another() -> None:
    """Two places that fall together: an attacker who guesses their signs guesses right half the time."""
    values = torch.zeros(1, 2 * FOLD)
    values[0, 5], values[0, FOLD + 5] = 1.0, 1.0
    sums = {float(fold(values, drawn(seed))[0, 5]) for seed in range(20)}
    assert sums == {-2.0, 0.0, 2.0}


@pytest.mark.parametrize("scale", [1e-30, 1e15])
def test_cosines_know_no_scale_and_zeros_resemble_nobody(scale: float) -> None:
    values = torch.randn(4, 6, generator=drawn())
    values[3] = 0
    exact = cosines(inner_products(values))
    torch.testing.assert_close(folded_cosines(values * scale, drawn(1)).double(), exact, rtol=1e-4, atol=1e-6)
    assert folded_cosines(values, drawn(1))[3].tolist() == [0.0] * 4


@pytest.mark.parametrize("n", [1, BLOCK, 2 * BLOCK + 5])
def test_one_triangle_gives_all_products(n: int) -> None:
    values = torch.randn(n, 7, generator=drawn())
    found = symmetric(values)
    torch.testing.assert_close(found, values @ values.T)


def test_beyond_the_mean_is_what_devices_of_equal_length_do_not_share() -> None:
    values = torch.randn(5, 40, generator=drawn()) + 3 * torch.randn(40, generator=drawn(3))
    unit = values / values.norm(dim=1, keepdim=True)
    exact = cosines(inner_products(unit - unit.mean(0)))
    found = folded_cosines(values, drawn(1), beyond_mean=True)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-5)


def test_who_knows_the_signs_can_hide_a_likeness_and_nobody_else() -> None:
    """Eight attackers send one poison, and beside it what cancels it under the signs of generator 1."""
    values = torch.randn(40, 2 * FOLD, generator=drawn())
    signs = (torch.randint(0, 2, (2 * FOLD,), generator=drawn(1)) * 2 - 1).float()
    poison = 5 * torch.randn(FOLD, generator=drawn(2))
    values[:8, :FOLD] += poison
    plain = folded_cosines(values, drawn(1))[:8, :8].mean()
    values[:8, FOLD:] -= signs[FOLD:] * signs[:FOLD] * poison
    known, secret = (folded_cosines(values, drawn(seed))[:8, :8].mean() for seed in (1, 3))
    assert float(plain) > 0.9
    assert float(known) < 0.2
    assert float(secret) > 0.9
