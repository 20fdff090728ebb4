"""The rules against their obvious float64 versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RunError
from tests.server.aggregators import oracles
from tests.server.aggregators.helpers import apply, flat, flat_of, from_flat, make

Oracle = Callable[[oracles.Values], oracles.Values]


def agree(name: str, oracle: Oracle, n: int, f: int = 0, seed: int = 0, **params: object) -> None:
    updates = make(n, seed)
    ours = flat_of(apply(name, updates, f, **params)).numpy()
    np.testing.assert_allclose(ours, oracle(flat(updates).numpy()), rtol=1e-5, atol=1e-6)


@given(n=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_mean_median_and_clipping(n: int, seed: int) -> None:
    agree("mean", oracles.mean, n, seed=seed)
    agree("median", oracles.median, n, seed=seed)
    agree("norm_clip", oracles.norm_clip, n, seed=seed)
    agree("norm_clip", lambda u: oracles.norm_clip(u, 1.5), n, seed=seed, max_norm=1.5)


@given(n=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_geometric_median_reaches_the_least_cost(n: int, seed: int) -> None:
    updates = make(n, seed)
    u = flat(updates).numpy()
    ours = flat_of(apply("geometric_median", updates)).numpy()
    assert oracles.cost(u, ours) <= oracles.cost(u, oracles.geometric_median(u)) * (1 + 1e-6) + 1e-9


def test_geometric_median_is_the_oracles_point() -> None:
    agree("geometric_median", oracles.geometric_median, 11)


@given(f=st.integers(0, 3), extra=st.integers(0, 4), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=40)
def test_krum_in_both_conventions(f: int, extra: int, seed: int, data: st.DataObject) -> None:
    n = 2 * f + 3 + extra
    select = data.draw(st.integers(1, n - f))
    paper, byzfl = n - f - 2, n - f - 1
    agree("krum", lambda u: oracles.krum(u, paper, select), n, f, seed, select=select)
    agree("krum", lambda u: oracles.krum(u, byzfl, select), n, f, seed, select=select, neighbours="byzfl")


def test_krum_with_select_zero_averages_all_but_f() -> None:
    agree("krum", lambda u: oracles.krum(u, 6, 8), 10, 2, select=0)


def test_krum_takes_its_own_bound_before_the_rounds() -> None:
    agree("krum", lambda u: oracles.krum(u, 5), 10, 0, byzantine=3)


@pytest.mark.parametrize("n", [1, 4, 6])
def test_krum_names_its_bound_when_the_round_is_too_small(n: int) -> None:
    with pytest.raises(RunError, match=r"krum against 2 .* at least 7 .* has " + str(n)):
        apply("krum", make(n), 2)


def test_krum_refuses_to_select_more_than_the_honest() -> None:
    with pytest.raises(RunError, match="at least 10 updates, this round has 9"):
        apply("krum", make(9), 2, select=8)


def test_krum_breaks_ties_towards_the_lowest_index() -> None:
    values = torch.zeros(6, flat(make(1)).shape[1])
    values[:, 0] = torch.tensor([10.0, 1.0, -1.0, 1.0, -1.0, -10.0])  # four of equal score
    updates = from_flat(values, make(6))
    weights = apply("krum", updates, 0, select=1).weights
    assert weights is not None
    assert weights.tolist() == [0, 1, 0, 0, 0, 0]


def test_mean_by_claimed_history_is_fedavg() -> None:
    updates = make(5)
    share = updates.history.double() / updates.history.sum()
    result = apply("mean", updates, weighting="history")
    torch.testing.assert_close(flat_of(result), share @ flat(updates), rtol=1e-5, atol=1e-6)


def test_mean_by_history_counts_an_empty_claim_as_one() -> None:
    updates = replace(make(2), history=torch.tensor([-5, 1], dtype=torch.int32))
    weights = apply("mean", updates, weighting="history").weights
    assert weights is not None
    assert weights.tolist() == [0.5, 0.5]


@given(n=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_median_of_the_devices_that_hold_a_row(n: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    updates = make(n, seed)
    touched = torch.rand(n, updates.rows.shape[1], generator=g) < 0.4
    updates = replace(updates, rows=updates.rows * touched[:, :, None], touched=touched)
    ours = apply("median", updates, electorate="touched").rows
    for k in range(updates.rows.shape[1]):
        voters = updates.rows[touched[:, k], k].double().numpy()
        expected = oracles.median(voters) if len(voters) else np.zeros(voters.shape[1])
        np.testing.assert_allclose(ours[k].numpy(), expected, rtol=1e-6, atol=1e-7)
    everyone = apply("median", updates).rows
    np.testing.assert_allclose(everyone.numpy(), np.median(updates.rows.numpy(), axis=0), rtol=1e-6)
