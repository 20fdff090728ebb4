"""The distance to the global state, against plain loops."""

from __future__ import annotations

import pytest

from client.regularisers.anchor import Anchor
from tests.client.regularisers.helpers import own


def test_anchor_is_the_squared_distance_to_the_global_state() -> None:
    mine = own()
    expected = [2 * sum(float(x) ** 2 for x in row) for row in mine.hidden - mine.anchor]
    assert Anchor(weight=2.0)(mine).tolist() == pytest.approx(expected, rel=1e-12)
