"""Weiszfeld's corners: smoothing, iterations, data points, large norms."""

from __future__ import annotations

import pytest
import torch

from server.aggregators.geometric_median import GeometricMedian
from server.aggregators.gram import gram
from tests.server.aggregators.helpers import apply, attacked, flat, flat_of, from_flat, make


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_smoothing_follows_the_size_of_the_updates(scale: float) -> None:
    """An absolute ν of .1 would make this the plain mean at the smallest scale."""
    values = flat(attacked(8, 3, 1e3)) * scale
    updates = from_flat(values.float(), make(11))
    honest = values[:8]
    moved = (flat_of(apply("geometric_median", updates)) - honest.mean(dim=0)).norm()
    assert moved < (honest - honest.mean(dim=0)).norm(dim=1).max()


def test_huge_smoothing_is_the_mean() -> None:
    updates = attacked(8, 3, 1e3)
    result = apply("geometric_median", updates, smoothing=1e9)
    torch.testing.assert_close(flat_of(result), flat(updates).mean(dim=0), rtol=1e-4, atol=1e-3)


def test_a_majority_at_one_point_is_the_median() -> None:
    updates = make(9).take(torch.tensor([4, 4, 4, 4, 4, 0, 1, 2, 3]))
    result = apply("geometric_median", updates)
    torch.testing.assert_close(flat_of(result), flat(updates)[0], rtol=1e-4, atol=1e-4)


def test_equal_updates_share_their_weight_whatever_rounding_says() -> None:
    updates = make(9, offset=300.0, width=5000).take(torch.tensor([4, 4, 4, 4, 4, 0, 1, 2, 3]))
    weights, _ = GeometricMedian().centre(gram(updates, chunk=97))
    torch.testing.assert_close(weights[:5], weights[:1].expand(5), rtol=1e-3, atol=0)
    assert weights[:5].sum() > 0.99


def test_an_uneven_rounding_of_the_gram_matrix_does_not_pick_a_favourite() -> None:
    products = torch.full((5, 5), 1.0, dtype=torch.float64)
    products += torch.diag(torch.arange(5) * 4 * torch.finfo(torch.float64).eps)
    weights, _ = GeometricMedian().centre(products)
    torch.testing.assert_close(weights, torch.full((5,), 0.2, dtype=torch.float64))


def test_on_a_line_it_is_the_middle_point() -> None:
    values = torch.zeros(5, flat(make(1)).shape[1])
    values[:, 0] = torch.tensor([0.0, 1.0, 2.0, 7.0, 90.0])
    result = apply("geometric_median", from_flat(values, make(5)), max_iterations=2000)
    assert float(result.encoder[0]) == pytest.approx(2.0, abs=1e-2)


def test_it_stops_once_it_stands_still() -> None:
    products = gram(make(20))
    _, steps = GeometricMedian().centre(products)
    assert 1 < steps < 100
    assert GeometricMedian(max_iterations=2).centre(products)[1] == 2
    assert GeometricMedian(tolerance=1e-12).centre(products)[1] > steps


def test_a_large_common_offset_does_not_blur_it() -> None:
    near, far = make(9, scale=0.1), make(9, scale=0.1, offset=500.0)
    moved = flat_of(apply("geometric_median", far)) - flat_of(apply("geometric_median", near))
    torch.testing.assert_close(moved, torch.full_like(moved, 500.0), rtol=0, atol=5e-4)
