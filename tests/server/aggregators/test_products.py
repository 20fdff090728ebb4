"""Products in float32 blocks: as good as float64 where it matters, whatever the updates share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import build_aggregator, products
from server.aggregators.gram import gram, inner_products, squared_distances
from server.aggregators.products import common_part, fast_products, groups, large
from tests.server.aggregators.helpers import flat_of, served

N, WIDTH = 24, 9000
GRAM_RULES = ("krum", "multi_krum", "mda", "geometric_median", "centred_clipping", "flame", "caf", "bulyan")


def normal(n: int = N, seed: int = 0, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def with_offset(size: float, spread: float = 1.0) -> torch.Tensor:
    return spread * normal() + size * normal(1, 7)


def copies(noise: float, count: int = 5) -> torch.Tensor:
    """The first ``count`` differ by ``noise`` only."""
    values = normal()
    values[:count] = values[0] + noise * normal(count, 3)
    return values


def far(size: float, count: int = 5) -> torch.Tensor:
    values = with_offset(1.0, 1e-3)
    values[:count] = size * (normal(1, 9) + 1e-3 * normal(count, 4))
    return values


CASES = {
    "independent": normal(),
    "a common direction": with_offset(0.3),
    "an offset": with_offset(30.0),
    "a large offset": with_offset(3e3),
    "near copies": copies(1e-3),
    "nearer copies": copies(1e-6),
    "near copies behind an offset": copies(1e-3) + 1e3 * normal(1, 5),
    "a tight cluster": with_offset(1.0, 1e-4),
    "a tight cluster and some far away": far(1.0),
    "a tight cluster and some very far away": far(1e6),
    "sizes of all kinds": normal() * torch.logspace(-6, 6, N)[:, None],
    "tiny": 1e-12 * normal(),
    "huge": 1e12 * normal(),
    "one of zero": normal() * (torch.arange(N) != 3)[:, None],
}
every_case = pytest.mark.parametrize("case", CASES)


def direct(values: torch.Tensor) -> torch.Tensor:
    """‖v_i − v_j‖², each from its own difference in float64."""
    wide = values.double()
    return torch.stack([(wide - row).square().sum(dim=1) for row in wide])


@every_case
def test_distances_are_right_to_a_millionth_and_products_to_their_lengths(case: str) -> None:
    values = CASES[case]
    found = fast_products(values)
    assert found is not None
    assert torch.equal(found, found.T)
    expected = direct(values)
    # beside a common offset float64 itself keeps 1e-16 of the whole squared length, in G as it is defined
    rounding = 1e-14 * float(values.double().square().sum(dim=1).max())
    torch.testing.assert_close(squared_distances(found), expected, rtol=1e-6, atol=rounding)
    size = values.double().norm(dim=1).clamp_min(1e-300)
    error = (found - values.double() @ values.double().T) / size[:, None] / size[None, :]
    assert float(error.abs().max()) < 1e-6


def test_float32_alone_fails_where_these_hold() -> None:
    """Or the test above would show nothing."""
    for case in ("a large offset", "near copies", "a tight cluster"):
        values = CASES[case]
        naive = squared_distances((values @ values.T).double())
        expected = direct(values)
        wrong = ((naive - expected).abs() / expected.clamp_min(1e-300)).fill_diagonal_(0)
        assert float(wrong.max()) > 1e-3, case


@every_case
def test_equal_vectors_are_at_distance_zero(case: str) -> None:
    values = CASES[case].clone()
    values[[5, 11, 17]] = values[2].clone()
    found = fast_products(values)
    assert found is not None
    same = [2, 5, 11, 17]
    assert squared_distances(found)[same][:, same].abs().max() == 0


@pytest.mark.parametrize("scale", [1e-25, 1e22])
def test_what_float32_cannot_hold_is_left_to_float64(scale: float) -> None:
    values = scale * normal()
    assert fast_products(values) is None
    with big() as updates:
        tiny = replace(updates, encoder=values, rows=updates.rows[:, :0])
        torch.testing.assert_close(gram(tiny), values.double() @ values.double().T)


def test_one_vector_that_vanishes_is_left_to_float64_and_a_zero_one_is_not() -> None:
    values = normal()
    values[4] = 0
    assert fast_products(values) is not None
    values[4, 77] = 1e-30
    assert fast_products(values) is None


def test_the_centre_is_near_the_honest_and_only_where_they_share_something() -> None:
    assert common_part(normal()) is None
    for size in (1.0, 1e6):
        found = common_part(far(size, 11))
        assert found is not None
        assert float((found - normal(1, 7)[0]).norm()) < 0.01 * WIDTH**0.5


def test_groups_are_connected_parts() -> None:
    close = torch.zeros(8, 8, dtype=torch.bool)
    for i, j in ((0, 3), (3, 6), (1, 2), (6, 7)):
        close[i, j] = close[j, i] = True
    assert [group.tolist() for group in groups(close)] == [[0, 3, 6, 7], [1, 2]]
    assert list(groups(torch.zeros(3, 3, dtype=torch.bool))) == []


@contextmanager
def big() -> Iterator[DeviceUpdates]:
    """A round that counts as large, while it lasts."""
    before, products.SMALL = products.SMALL, 0
    try:
        yield DeviceUpdates(
            encoder=normal(),
            rows=normal(seed=2, width=8192).reshape(N, 128, 64),
            items=torch.arange(1, 129, dtype=torch.int32),
            history=torch.ones(N, dtype=torch.int32),
            device=torch.arange(N),
        )
    finally:
        products.SMALL = before


def test_small_rounds_and_strided_ones_stay_in_float64() -> None:
    with big() as updates:
        assert large(updates.encoder)
        assert large(updates.rows)
        assert not large(updates.rows.transpose(1, 2))
        assert not large(updates.encoder.double())
        assert not large(updates.encoder[:, :100].contiguous())
        strided = replace(updates, rows=updates.rows.transpose(1, 2).contiguous().transpose(1, 2))
        expected = fast_products(updates.encoder)
        assert expected is not None
        torch.testing.assert_close(gram(strided), expected + inner_products(updates.rows))
    assert not large(updates.encoder)


@pytest.mark.parametrize("shape", ["apart", "offset", "colluding", "far"])
@pytest.mark.parametrize("name", GRAM_RULES)
def test_rules_find_the_same_either_way(name: str, shape: str) -> None:
    rule = build_aggregator(component(name))
    with big() as updates:
        if shape == "offset":
            updates = replace(updates, encoder=updates.encoder + 1e3 * normal(1, 7))
        elif shape == "colluding":
            updates = replace(updates, encoder=copies(1e-3), rows=updates.rows[[0] * 5 + list(range(5, N))])
        elif shape == "far":
            updates = replace(updates, encoder=far(1e6, 4))
        fast, _ = rule(updates, rule.init(), served(updates, 4))
    exact, _ = rule(updates, rule.init(), served(updates, 4))
    torch.testing.assert_close(flat_of(fast), flat_of(exact), rtol=1e-5, atol=1e-6)
    if fast.weights is not None and exact.weights is not None:
        torch.testing.assert_close(fast.weights, exact.weights, rtol=1e-5, atol=1e-7)
