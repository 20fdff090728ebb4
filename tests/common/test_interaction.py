"""The size of one interaction, from the norms of a device's rows."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from common.updates import interaction_sizes


@given(st.lists(st.lists(st.floats(0.0625, 100, width=32), min_size=4, max_size=4), min_size=1, max_size=5))
def test_it_is_the_energy_weighted_size(norms: list[list[float]]) -> None:
    expected = [math.sqrt(sum(x**4 for x in row) / sum(x**2 for x in row)) for row in norms]
    found = interaction_sizes(torch.tensor(norms))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_rows_of_one_size_have_that_size_however_many_and_weak_rows_hardly_count() -> None:
    one = torch.zeros(1, 512)
    one[0, 7] = 0.3
    many = torch.zeros(1, 512)
    many[0, :40] = 0.3
    weak = many + 0.003
    assert float(interaction_sizes(one)) == float(interaction_sizes(many))
    assert abs(float(interaction_sizes(weak)) / 0.3 - 1) < 0.02


def test_nothing_has_no_size() -> None:
    assert interaction_sizes(torch.zeros(2, 5)).tolist() == [0.0, 0.0]
