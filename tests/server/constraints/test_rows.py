"""Constraints on item rows: bounds that hold, steps inside them that stay bit-identical."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.tasks import GlobalModel
from server.optimizers import ParameterUpdate
from tests.server.constraints.helpers import D, K, N, apply, louder, model, step


@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100), factor=st.floats(0.2, 3))
@settings(max_examples=40)
def test_no_row_outgrows_the_table(seed: int, scale: float, factor: float) -> None:
    old, delta = model(seed), step(seed, scale)
    after, figures = apply("row_norm_cap", delta, old, factor=factor, quantile=0.9)
    before = old.table[delta.items.long()]
    cap = factor * float(torch.quantile(old.table[1:].double().norm(dim=1), 0.9))
    bound = before.norm(dim=1).clamp_min(cap)
    assert torch.all((before + after.rows).norm(dim=1) <= bound * (1 + 1e-5))
    inside = (before + delta.rows).norm(dim=1) <= bound
    assert torch.equal(after.rows[inside], delta.rows[inside])
    assert figures["row_norm_cap.clipped"] == pytest.approx(float((~inside).double().mean()))
    assert figures["row_norm_cap.cap"] == pytest.approx(cap, rel=1e-6)


def test_the_cap_keeps_the_direction_of_the_new_row() -> None:
    old, delta = model(), step(scale=50.0)
    after, figures = apply("row_norm_cap", delta, old)
    assert figures["row_norm_cap.clipped"] > 0.9
    before = old.table[delta.items.long()]
    cosine = torch.cosine_similarity(before + delta.rows, before + after.rows)
    assert cosine.min() > 1 - 1e-5


def test_a_row_above_the_cap_may_shrink_and_rest_but_not_grow() -> None:
    old = model()
    old.table[5] = 1000.0
    item = torch.tensor([5], dtype=torch.int32)
    for change, expected in [(-1.0, -1.0), (0.0, 0.0), (1.0, 0.0)]:
        after, _ = apply("row_norm_cap", ParameterUpdate({}, torch.full((1, D), change), item), old)
        torch.testing.assert_close(after.rows, torch.full((1, D), expected), rtol=1e-4, atol=1e-3)


def test_the_padding_row_does_not_count_and_a_zero_table_can_start() -> None:
    old = GlobalModel(torch.zeros(6), torch.zeros(N + 1, D))
    old.table[0] = 1.0
    after, _ = apply("row_norm_cap", step(), old, quantile=1.0)
    assert torch.equal(after.rows, step().rows)


def test_drift_is_bounded_by_the_median_step() -> None:
    delta = louder(step(), [3, 7], 1000.0)
    after, figures = apply("row_drift", delta, factor=4.0)
    size = delta.rows.norm(dim=1)
    bound = 4.0 * float(torch.quantile(size, 0.5))
    over = size > bound
    assert over.tolist() == [i in (3, 7) for i in range(K)]
    torch.testing.assert_close(after.rows[over].norm(dim=1), torch.full((2,), bound))
    assert torch.cosine_similarity(after.rows[over], delta.rows[over]).min() > 1 - 1e-5
    assert torch.equal(after.rows[~over], delta.rows[~over])
    assert figures == {"row_drift.clipped": 2 / K, "row_drift.bound": pytest.approx(bound)}


def test_resting_rows_do_not_pull_the_drift_bound_to_zero() -> None:
    delta = louder(step(), list(range(15)), 0.0)
    after, _ = apply("row_drift", delta)
    assert torch.equal(after.rows, delta.rows)
