"""The floor under the variance of the item table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from common.settings import component
from common.tasks import GlobalModel
from server.constraints import build_constraints
from server.constraints.variance import largest
from server.optimizers import ParameterUpdate
from tests.server.constraints.helpers import D, N, apply, evidence, model, step

ALL = torch.arange(1, N + 1, dtype=torch.int32)


def spread(table: torch.Tensor) -> float:
    """mean ‖e_i − ē‖² over the rows, the padding left out."""
    rows = table[1:].double().numpy()
    return float(np.mean([np.sum((row - rows.mean(0)) ** 2) for row in rows]))


def moved(at: GlobalModel, delta: ParameterUpdate) -> GlobalModel:
    return GlobalModel(at.encoder, at.table.index_add(0, delta.items.long(), delta.rows))


def collapse(at: GlobalModel, share: float) -> ParameterUpdate:
    """Every row goes ``share`` of the way to the mean."""
    rows = at.table[1:]
    return ParameterUpdate({}, share * (rows.mean(0) - rows), ALL)


def test_a_collapse_stops_at_the_floor_and_stays_there() -> None:
    at = model()
    start = spread(at.table)
    chain = build_constraints([component("variance_floor", least=0.6)])
    state = chain.init(at)
    for _ in range(12):
        delta = collapse(at, 0.2)
        after, state, _ = chain(at, delta, state, evidence())
        at = moved(at, after)
        assert spread(at.table) >= 0.6 * start * (1 - 1e-5)
    assert spread(at.table) == pytest.approx(0.6 * start, rel=1e-4)  # all that is permitted was taken


def test_above_the_floor_steps_pass_bit_by_bit() -> None:
    at = model()
    delta = collapse(at, 0.05)
    chain = build_constraints([component("variance_floor", least=0.6)])
    after, _, figures = chain(at, delta, chain.init(at), evidence())
    assert torch.equal(after.rows, delta.rows)
    assert figures["variance_floor.inward"] == 1.0
    assert figures["variance_floor.variance"] == pytest.approx(spread(moved(at, delta).table), rel=1e-6)


def test_learning_across_goes_on_while_the_collapse_is_held() -> None:
    """Half of the rows turn, the others are drawn in: only the latter are held."""
    at = model()
    at.table[0] = 7.0
    delta = collapse(at, 0.9)
    delta.rows[: N // 2] = 0.0
    centred = at.table[1 : N // 2 + 1] - at.table[1:].mean(0)
    delta.rows[: N // 2, 0], delta.rows[: N // 2, 1] = centred[:, 1], -centred[:, 0]  # at right angles
    chain = build_constraints([component("variance_floor", least=0.95)])
    after, _, figures = chain(at, delta, chain.init(at), evidence())
    assert 0 < figures["variance_floor.inward"] < 1
    torch.testing.assert_close(after.rows[: N // 2], delta.rows[: N // 2], rtol=1e-4, atol=1e-5)
    assert spread(moved(at, after).table) == pytest.approx(0.95 * spread(at.table), rel=1e-4)


def test_the_floor_follows_the_largest_variance_so_far() -> None:
    at = model()
    chain = build_constraints([component("variance_floor", least=0.5)])
    state = chain.init(at)
    grow = ParameterUpdate({}, at.table[1:].clone(), ALL)  # to twice the size
    after, state, _ = chain(at, grow, state, evidence())
    grown = moved(at, after)
    assert float(state["0/peak"]) == pytest.approx(4 * spread(at.table), rel=1e-5)
    back = collapse(grown, 1.0)
    after, _, _ = chain(grown, back, state, evidence())
    assert spread(moved(grown, after).table) == pytest.approx(2 * spread(at.table), rel=1e-4)


@given(seed=st.integers(0, 99), scale=st.floats(0.01, 30), least=st.floats(0, 0.99))
@settings(max_examples=40)
def test_no_step_goes_below_floor_and_today(seed: int, scale: float, least: float) -> None:
    at, delta = model(seed), step(seed + 1, scale)
    chain = build_constraints([component("variance_floor", least=least)])
    peak = 2 * torch.tensor(spread(at.table), dtype=torch.float64)  # today may lie below the floor
    after, state, _ = chain(at, delta, {"0/peak": peak}, evidence())
    goal = min(spread(at.table), least * float(peak))
    found = spread(moved(at, after).table)
    assert found >= goal * (1 - 1e-5)
    assert float(state["0/peak"]) == pytest.approx(max(float(peak), found), rel=1e-5)
    assert torch.all(after.rows.norm(dim=1) <= delta.rows.norm(dim=1) * (1 + 1e-4))


def test_a_table_of_equal_rows_can_start() -> None:
    at = GlobalModel(torch.zeros(6), torch.ones(N + 1, D))
    after, _ = apply("variance_floor", step(), at)
    assert torch.equal(after.rows, step().rows)


def test_the_bisection_finds_the_crossing() -> None:
    base = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)  # V = 1; (1 − s)² after s of the way in
    assert largest(base, -base, 0.25) == pytest.approx(0.5)
    assert largest(base, base, 0.25) == 1.0
    assert largest(base, -base, 2.0) == 0.0


def test_invalid_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="variance_floor"):
        apply("variance_floor", step(), least=1.0)
