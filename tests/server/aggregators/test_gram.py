"""Inner products and distances, and the float32 fault they avoid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from server.aggregators.gram import (
    centred,
    cosines,
    gram,
    inner_products,
    middle,
    norms,
    products_with,
    squared_distances,
    squared_distances_to,
    whole_norms,
)
from tests.server.aggregators.helpers import apply, flat, from_flat, make


@given(n=st.integers(1, 7), chunk=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_blocks_and_their_sum_whatever_the_chunk(n: int, chunk: int, seed: int) -> None:
    updates = make(n, seed)
    g = gram(updates, chunk)
    encoder, rows = updates.encoder.double(), updates.rows.double().flatten(1)
    torch.testing.assert_close(inner_products(updates.encoder, chunk), encoder @ encoder.T)
    torch.testing.assert_close(inner_products(updates.rows, chunk), rows @ rows.T)
    torch.testing.assert_close(g, flat(updates) @ flat(updates).T)
    torch.testing.assert_close(whole_norms(updates, chunk), flat(updates).norm(dim=1))
    torch.testing.assert_close(norms(g), flat(updates).norm(dim=1))
    assert g.dtype == torch.float64
    assert torch.equal(g, g.T)


def test_the_conversion_to_float64_stays_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    double = torch.Tensor.double

    def watch(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor.numel())
        return double(tensor)

    monkeypatch.setattr(torch.Tensor, "double", watch)
    gram(make(4, width=1000), chunk=64)
    assert len(seen) == 17  # 16 of the encoder, 1 of the 15 row values
    assert max(seen) == 4 * 64


@given(n=st.integers(1, 7), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_distances_in_gram_space(n: int, seed: int) -> None:
    updates = make(n, seed)
    u, g = flat(updates), gram(updates)
    torch.testing.assert_close(squared_distances(g), torch.cdist(u, u).square(), rtol=1e-9, atol=1e-9)
    w = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = (u - w @ u).square().sum(dim=1)
    torch.testing.assert_close(squared_distances_to(g, w), expected, rtol=1e-9, atol=1e-9)


@given(n=st.integers(1, 7), chunk=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_centre_cosines_and_one_more_vector(n: int, chunk: int, seed: int) -> None:
    updates, other = make(n, seed), make(1, seed + 1)
    u, g = flat(updates), gram(updates)
    shares = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shares /= shares.sum()
    apart = u - shares @ u
    torch.testing.assert_close(centred(g, shares), apart @ apart.T)
    torch.testing.assert_close(cosines(g), torch.nn.functional.cosine_similarity(u[:, None], u[None], dim=2))
    across = products_with(updates, other.encoder[0], other.rows[0], chunk)
    torch.testing.assert_close(across, u @ flat(other)[0])


def test_the_cosine_beside_nothing_is_zero() -> None:
    values = torch.cat([torch.zeros(1, 22), torch.ones(1, 22)])
    assert cosines(gram(from_flat(values, make(2)))).tolist() == [[0.0, 0.0], [0.0, 1.0]]


def test_float32_distances_turn_negative_on_a_large_offset_and_ours_do_not() -> None:
    updates = make(8, offset=1000.0, scale=1e-2, width=2000)
    x = torch.cat([updates.encoder, updates.rows.flatten(1)], dim=1)
    square = x.square().sum(dim=1)
    naive = square[:, None] + square[None, :] - 2 * x @ x.T
    assert naive.min() < 0, "the fault must show, or this test shows nothing"
    exact = (flat(updates)[:, None] - flat(updates)[None, :]).square().sum(dim=-1)
    ours = squared_distances(gram(updates))
    assert ours.min() >= 0
    torch.testing.assert_close(ours, exact, rtol=1e-2, atol=0)


@pytest.mark.parametrize("offset", [0.0, 100.0, 3000.0])
def test_krum_never_selects_the_outliers_that_hide_behind_an_offset(offset: float) -> None:
    updates = make(9, offset=offset, scale=1e-2, width=2000)
    values = flat(updates).float()
    values[7:] += 0.5
    weights = apply("krum", from_flat(values, updates), 2, select=0).weights
    assert weights is not None
    assert weights[7:].tolist() == [0, 0]


def test_equal_updates_are_at_distance_zero_exactly() -> None:
    updates = make(5, offset=7.0, width=5000).take(torch.tensor([0, 1, 0, 1, 0]))
    distances = squared_distances(gram(updates, chunk=97))
    same = torch.tensor([[i % 2 == j % 2 for j in range(5)] for i in range(5)])
    assert distances[same].abs().max() == 0
    assert distances[~same].min() > 0


@pytest.mark.parametrize("rounding", [-8, -1, 1, 8])
def test_a_difference_within_rounding_is_zero(rounding: int) -> None:
    products = torch.full((2, 2), 3.0, dtype=torch.float64)
    products[0, 1] = products[1, 0] = 3.0 * (1 + rounding * torch.finfo(torch.float64).eps)
    assert squared_distances(products).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_large_values_do_not_overflow() -> None:
    updates = make(4, scale=1e30)
    assert squared_distances(gram(updates)).isfinite().all()


def test_no_features_and_no_rows() -> None:
    assert inner_products(torch.zeros(3, 0)).tolist() == [[0.0] * 3] * 3
    empty = replace(make(2), rows=torch.zeros(2, 0, 3))
    torch.testing.assert_close(gram(empty), inner_products(empty.encoder))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12))
def test_middle_is_numpys_median(values: list[float]) -> None:
    assert float(middle(torch.tensor(values, dtype=torch.float64))) == pytest.approx(float(np.median(values)))
