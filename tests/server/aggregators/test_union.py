"""UNION: who would draw the item table together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, RunError
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import Aggregate, build_aggregator
from server.aggregators.union import Union, uniformity
from tests.server.aggregators import oracles_served
from tests.server.aggregators.helpers import a_round, classic, flat, flat_of, make, served

GAP = Union(filter="gap")


def collapsing(honest: int, malicious: int, strength: float = 0.5, seed: int = 0) -> DeviceUpdates:
    """Honest devices, then some whose rows all go ``strength`` of the way to the centre of the table."""
    updates = make(honest + malicious, seed, scale=0.05)
    model = served(updates).model
    assert model is not None
    table = model.table[updates.items.long()]
    rows = updates.rows.clone()
    rows[honest:] += strength * (table.mean(dim=0) - table)
    return replace(updates, rows=rows)


def weights(result: Aggregate) -> torch.Tensor:
    assert result.weights is not None
    return result.weights


def run(rule: Union, updates: DeviceUpdates, f: int = 0) -> Aggregate:
    return rule(updates, rule.init(), served(updates, f))[0]


@given(m=st.integers(2, 9), seed=st.integers(0, 99), offset=st.sampled_from([0.0, 1e4]))
@settings(max_examples=30)
def test_uniformity_is_the_mean_distance_of_two_rows(m: int, seed: int, offset: float) -> None:
    rows = torch.randn(m, 4, generator=torch.Generator().manual_seed(seed)) + offset
    assert float(uniformity(rows)) == pytest.approx(
        oracles_served.uniformity(rows.double().numpy()), rel=1e-6
    )


def test_fewer_than_two_rows_have_no_distance() -> None:
    assert float(uniformity(torch.ones(1, 3))) == float(uniformity(torch.ones(0, 3))) == 0


@given(n=st.integers(4, 12), f=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_it_is_its_oracle_with_and_without_a_server_step(n: int, f: int, seed: int) -> None:
    for updates in (make(n, seed, scale=0.3), classic(n, seed)):
        round_ = served(updates, f)
        assert round_.model is not None
        start = round_.model.table[updates.items.long()].double().numpy()
        for scale in (None, 0.1):
            step = None if scale is None else (lambda rows, scale=scale: scale * rows)
            ours, _ = Union()(updates, {}, replace(served(updates, f), step=step))
            if ours.figures["union.left_out"] * n > f:
                continue  # the gap statistic found two groups: below
            moved = (scale or 1.0) * updates.rows.double().numpy()
            expected = oracles_served.union(flat(updates).numpy(), lambda i, m=start + moved: m[i], f)
            np.testing.assert_allclose(flat_of(ours).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("malicious", [1, 3, 8])
def test_a_minority_that_draws_the_table_together_is_left_out(malicious: int) -> None:
    updates = collapsing(20, malicious)
    for rule, f in ((GAP, 0), (Union(), malicious)):
        result = run(rule, updates, f)
        assert weights(result)[20:].abs().max() == 0
        assert weights(result)[:20].tolist() == pytest.approx([1 / 20] * 20)


def test_a_majority_leaves_out_the_honest() -> None:
    result = run(GAP, collapsing(8, 20))
    assert weights(result)[:8].abs().max() == 0


def test_equal_groups_stay() -> None:
    assert run(GAP, collapsing(8, 8)).figures["union.left_out"] == 0


def test_a_poison_that_keeps_the_distances_is_not_seen() -> None:
    updates = make(24, scale=0.05)
    rows = updates.rows.clone()
    rows[20:] += 100.0  # the same for every row
    assert weights(run(GAP, replace(updates, rows=rows)))[20:].min() > 0


def test_either_reason_is_enough_and_gap_asks_for_its_own() -> None:
    updates = make(20, scale=0.05)
    assert run(GAP, updates, 9).figures["union.left_out"] == 0
    assert 0 < run(Union(), updates, 9).figures["union.left_out"] < 0.5


def test_a_sample_of_rows_is_drawn_from_the_round() -> None:
    updates = collapsing(20, 3)
    assert weights(run(Union(sample=3, filter="gap"), updates))[20:].abs().max() == 0
    one, other = (Union(sample=2).uniformities(updates, served(updates, 0, seed)) for seed in (1, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, Union(sample=5).uniformities(updates, served(updates, 0, 1)))


def test_what_it_needs_is_named() -> None:
    with pytest.raises(RunError, match="union needs the global model"):
        Union()(make(4), {}, a_round(4))
    with pytest.raises(ConfigError, match="either, gap"):
        build_aggregator(component("union", filter="all"))
    with pytest.raises(ConfigError, match="at least 2"):
        build_aggregator(component("union", sample=1))
