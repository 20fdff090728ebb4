"""One group of numbers or two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from server.aggregators.split import two_groups, two_means, upper
from tests.server.aggregators import oracles_served


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=20, unique=True))
@settings(max_examples=60)
def test_the_cut_is_the_best_of_all_cuts(values: list[float]) -> None:
    members, within = oracles_served.two_means(values)
    place, ours = two_means(numbers(values).sort().values)
    np.testing.assert_allclose(float(ours), within, rtol=1e-6, atol=1e-6)
    if float(np.ptp(values)) > 1e-3:
        assert int(upper(numbers(values)).sum()) == len(values) - int(place) or within > ours
        assert upper(numbers(values)).any()
    assert len(members) >= 1


@pytest.mark.parametrize(("low", "high"), [(20, 5), (5, 20), (3, 3), (30, 1)])
def test_two_groups_far_apart_are_two(low: int, high: int) -> None:
    values = torch.cat(
        [torch.randn(low, generator=seeded(1)), 40 + torch.randn(high, generator=seeded(2))]
    ).double()
    assert two_groups(values, seeded())
    assert upper(values).tolist() == [False] * low + [True] * high


@pytest.mark.parametrize("n", [10, 50, 200])
def test_one_group_is_hardly_ever_two(n: int) -> None:
    drawn = torch.randn(50, n, generator=seeded(3), dtype=torch.float64)
    assert sum(two_groups(row, seeded(i)) for i, row in enumerate(drawn)) <= 5


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8])
def test_equal_values_are_one_group_with_nobody_above(n: int) -> None:
    values = torch.full((n,), 0.3, dtype=torch.float64)
    assert not two_groups(values, seeded())
    assert not upper(values).any()


def test_the_order_and_the_unit_do_not_matter() -> None:
    values = torch.cat([torch.rand(9, generator=seeded(1)), 7 + torch.rand(4, generator=seeded(2))]).double()
    turned = values.flip(0)
    assert upper(turned).flip(0).tolist() == upper(values).tolist()
    assert (
        two_groups(turned, seeded())
        == two_groups(values * 1e-9 + 5, seeded())
        == two_groups(values, seeded())
    )


def test_two_values_repeated_are_two_groups() -> None:
    assert two_groups(numbers([0.0] * 6 + [1.0] * 2), seeded())
