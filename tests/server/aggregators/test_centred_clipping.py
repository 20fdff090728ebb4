"""The centre: what an iteration does to it, and how it is carried over rounds and slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from common.updates import DeviceUpdates
from server.aggregators.centred_clipping import CentredClipping
from tests.server.aggregators import oracles_gram
from tests.server.aggregators.helpers import P, a_round, apply, attacked, flat, flat_of, make


def on(updates: DeviceUpdates, items: list[int]) -> DeviceUpdates:
    return replace(updates, items=torch.tensor(items, dtype=torch.int32))


@given(
    n=st.integers(1, 12),
    seed=st.integers(0, 99),
    tau=st.sampled_from([None, 0.3, 2.0, 1e6]),
    relative=st.sampled_from([0.5, 1.0]),
    iterations=st.integers(1, 6),
)
@settings(max_examples=40)
def test_three_rounds_follow_the_iteration_on_vectors(
    n: int, seed: int, tau: float | None, relative: float, iterations: int
) -> None:
    rule = CentredClipping(tau, relative, iterations)
    state, centre = rule.init(), np.zeros(22)
    for number in range(3):
        updates = make(n, seed + number, offset=0.5)
        result, state = rule(updates, state, a_round(n))
        centre = oracles_gram.centred_clipping(flat(updates).numpy(), centre, tau, relative, iterations)
        np.testing.assert_allclose(flat_of(result).numpy(), centre, rtol=1e-5, atol=2e-6)


def test_the_weights_and_what_is_carried_are_one_whole() -> None:
    result = apply("centred_clipping", make(9), iterations=1)
    assert result.weights is not None
    assert float(result.weights.sum()) + result.figures["centred_clipping.carried"] == pytest.approx(1)
    assert 0 < result.figures["centred_clipping.carried"] < 1


def test_a_wide_radius_is_the_mean_and_a_narrow_one_a_small_step() -> None:
    u = flat(make(9))
    torch.testing.assert_close(
        flat_of(apply("centred_clipping", make(9), tau=1e9)), u.mean(0), rtol=1e-5, atol=1e-6
    )
    step = apply("centred_clipping", make(9), tau=1e-3, iterations=1)
    assert float(flat_of(step).norm()) <= 1e-3
    assert step.figures["centred_clipping.tau"] == pytest.approx(1e-3)


def test_an_iteration_cannot_move_it_further_than_the_radius() -> None:
    result = apply("centred_clipping", attacked(12, 5, 1e9), 5, iterations=1)
    assert float(flat_of(result).norm()) <= result.figures["centred_clipping.tau"] * (1 + 1e-6)


def test_the_centre_of_last_round_counts() -> None:
    rule = CentredClipping(tau=0.1, iterations=1)
    _, state = rule(make(9, offset=3.0), rule.init(), a_round(9))
    later, _ = rule(make(9, 1), state, a_round(9))
    fresh, _ = rule(make(9, 1), rule.init(), a_round(9))
    assert not torch.allclose(later.encoder, fresh.encoder)


def test_rows_wait_for_their_item() -> None:
    rule = CentredClipping(tau=1e-6, iterations=1)  # v hardly moves: what comes back is what was kept
    big = CentredClipping(tau=1e9, iterations=1)
    first, state = big(on(make(9), [1, 3, 5, 7, 9]), big.init(), a_round(9))
    _, state = big(on(make(9, 1), [2, 4, 6, 8, 10]), state, a_round(9))
    assert state["items"].tolist() == list(range(1, 11))
    third, after = rule(on(make(9, 2), [1, 2, 3, 20, 30]), state, a_round(9))
    torch.testing.assert_close(third.rows[0], first.rows[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(third.rows[2], first.rows[1], rtol=0, atol=1e-5)
    assert float(third.rows[3:].abs().max()) <= 1e-6  # items never met before start at 0
    assert after["rows"].shape == (12, 3)
    assert torch.equal(after["rows"][2], third.rows[2])
    assert torch.equal(after["rows"][6], first.rows[3])


def test_a_majority_at_the_centre_leaves_it_there() -> None:
    updates = make(9).take(torch.tensor([4, 4, 4, 4, 4, 0, 1, 2, 3]))
    rule = CentredClipping(tau=1e9)
    _, state = rule(make(5).take(torch.zeros(5, dtype=torch.int64)), rule.init(), a_round(5))
    state = {**state, "encoder": updates.encoder[0].clone(), "rows": updates.rows[0].clone()}
    result, _ = CentredClipping()(updates, state, a_round(9))
    torch.testing.assert_close(flat_of(result), flat(updates)[0], rtol=1e-6, atol=1e-6)


def test_the_state_survives_a_file_and_is_nobodys_alias() -> None:
    rule = CentredClipping()
    result, state = rule(make(9), rule.init(), a_round(9))
    saved = load(save(dict(state)))
    result.encoder.fill_(99.0)
    result.rows.fill_(99.0)
    one, _ = rule(make(9, 1), state, a_round(9))
    other, _ = rule(make(9, 1), saved, a_round(9))
    assert torch.equal(flat_of(one), flat_of(other))
    assert state["encoder"].shape == (P,)
