"""FLTrust: direction from the devices, length and half-space from the root."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RunError
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate
from server.aggregators.fltrust import FlTrust
from tests.server.aggregators import oracles_served
from tests.server.aggregators.helpers import a_round, attacked, flat, flat_of, from_flat, make, served


def trusting(updates: DeviceUpdates, root: DeviceUpdates) -> Aggregate:
    rule = FlTrust()
    return rule(updates, rule.init(), replace(served(updates), root=root))[0]


@given(n=st.integers(1, 12), roots=st.integers(1, 4), seed=st.integers(0, 99), offset=st.floats(0, 1))
@settings(max_examples=40)
def test_it_is_its_oracle(n: int, roots: int, seed: int, offset: float) -> None:
    updates, root = make(n, seed, offset=offset), make(roots, seed + 1000, offset=offset)
    expected = oracles_served.fltrust(flat(updates).numpy(), flat(root).numpy().mean(axis=0))
    np.testing.assert_allclose(flat_of(trusting(updates, root)).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_without_a_trusted_node_the_round_is_refused() -> None:
    with pytest.raises(RunError, match="fltrust needs the update of a trusted node"):
        FlTrust()(make(5), {}, a_round(5))


@pytest.mark.parametrize("malicious", [1, 5, 50])
@pytest.mark.parametrize("distance", [20.0, 1e4, 1e12])
def test_any_number_of_attackers_stays_within_the_length_of_the_root(malicious: int, distance: float) -> None:
    updates = attacked(12, malicious, distance)
    root = from_flat(flat(updates)[:12].mean(dim=0, keepdim=True).float(), updates.take(torch.tensor([0])))
    result = flat_of(trusting(updates, root))
    g = flat(root)[0]
    assert float(result.norm()) <= float(g.norm()) * (1 + 1e-5)
    assert float(result @ g) >= 0


def test_those_who_point_away_count_for_nothing_and_length_buys_nothing() -> None:
    values = flat(make(8, offset=1.0)).float()
    values[5:] *= -1
    honest = from_flat(values, make(8))
    root = from_flat(flat(make(3, 77, offset=1.0)).float(), make(3))
    result = trusting(honest, root)
    assert result.weights is not None
    assert result.weights[5:].tolist() == [0, 0, 0]
    assert float(result.weights.sum()) == pytest.approx(1)
    values[0] *= 1e6
    torch.testing.assert_close(flat_of(trusting(from_flat(values, make(8)), root)), flat_of(result))


@pytest.mark.parametrize("size", [1e-44, 1e-40, 1e-33])
def test_an_update_of_next_to_no_length_is_not_made_infinite(size: float) -> None:
    """A device could end the run with it: ‖g_0‖/‖u_i‖ is beyond float32 where u_i itself is not."""
    root = make(1, 77, offset=1.0)
    values = flat(make(8, offset=1.0)).float()
    values[3] = size * flat(root)[0].sign()
    result = trusting(from_flat(values, make(8)), root)
    assert result.weights is not None
    assert float(result.weights[3]) == 0
    others = torch.tensor([0, 1, 2, 4, 5, 6, 7])
    expected = trusting(from_flat(values[others], make(7)), root)
    torch.testing.assert_close(flat_of(result), flat_of(expected))


def test_a_majority_within_the_half_space_steers_it() -> None:
    """What the rule cannot see: many who keep a small part of the root's direction beside their own."""
    g = torch.zeros(1, 22)
    g[0, 0] = 1.0
    values = g.repeat(30, 1)
    values[4:, 1] = 10.0
    result = flat_of(trusting(from_flat(values, make(30)), from_flat(g, make(1))))
    assert float(result[1]) > 0.3


def test_where_all_point_away_nothing_moves() -> None:
    updates = make(4, offset=2.0)
    away = from_flat(-flat(updates).float(), updates)
    assert flat_of(trusting(away, updates)).abs().max() == 0
