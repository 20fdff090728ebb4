"""The encoder bound, what all constraints share, and their chain."""

from __future__ import annotations

import pytest
import torch

from common.errors import ConfigError, UnknownName
from common.settings import component
from server.constraints import CONSTRAINTS, build_constraints
from server.optimizers import State
from tests.server.constraints.helpers import apply, evidence, length, louder, model, step

every_constraint = pytest.mark.parametrize("name", sorted(CONSTRAINTS))


def test_the_encoder_step_follows_its_own_past() -> None:
    chain = build_constraints([component("encoder_step", factor=2.0, decay=0.9)])
    state: State = chain.init(model())
    mean, mass = 0.0, 0.0
    for size in [1.0, 1.5, 40.0, 1.0, 0.0, 300.0, 2.0]:
        delta = step(scale=size)
        after, state, figures = chain(model(), delta, state, evidence())
        given_ = length(delta)
        expected = min(given_, 2.0 * mean / mass) if mean > 0 else given_
        assert length(after) == pytest.approx(expected, rel=1e-5)
        assert figures["encoder_step.norm"] == pytest.approx(given_)
        mean, mass = 0.9 * mean + 0.1 * expected, 0.9 * mass + 0.1
        assert torch.equal(after.rows, delta.rows)


def test_a_linear_warm_up_passes_the_encoder_bound() -> None:
    chain = build_constraints([component("encoder_step")])
    state: State = chain.init(model())
    for t in range(1, 60):
        _, state, figures = chain(model(), step(scale=0.01 * t), state, evidence())
        assert figures["encoder_step.scale"] == 1.0


def test_a_first_round_of_zeros_does_not_freeze_the_encoder() -> None:
    chain = build_constraints([component("encoder_step")])
    _, state, _ = chain(model(), step(scale=0.0), chain.init(model()), evidence())
    after, _, _ = chain(model(), step(), state, evidence())
    assert length(after) == pytest.approx(length(step()))


@every_constraint
def test_nothing_given_is_changed_and_nothing_grows(name: str) -> None:
    chain = build_constraints([component(name)])
    old, delta, kept = model(), louder(step(scale=5.0), [0], 100.0), louder(step(scale=5.0), [0], 100.0)
    table = old.table.clone()
    state = chain.init(model())
    before = {key: value.clone() for key, value in state.items()}
    after, _, figures = chain(old, delta, state, evidence())
    assert torch.equal(old.table, table)
    assert torch.equal(delta.rows, kept.rows)
    assert all(torch.equal(delta.encoder[key], kept.encoder[key]) for key in kept.encoder)
    assert all(torch.equal(state[key], before[key]) for key in before)
    assert torch.equal(after.items, delta.items)
    assert after.rows.dtype == torch.float32
    assert all(key.startswith(f"{name}.") for key in figures)
    assert figures


def test_a_chain_applies_in_order_and_keeps_states_apart() -> None:
    names = ["encoder_step", "row_drift", "row_norm_cap", "encoder_step"]
    chain = build_constraints([component(name) for name in names])
    state = chain.init(model())
    assert set(state) == {"0/mean", "0/mass", "3/mean", "3/mass"}
    delta = louder(step(), [2], 1e6)
    after, state, figures = chain(model(), delta, state, evidence())
    drifted, _ = apply("row_drift", delta)
    capped, _ = apply("row_norm_cap", drifted)
    assert torch.equal(after.rows, capped.rows)
    assert float(state["3/mean"]) == pytest.approx(0.1 * length(delta))
    assert "row_drift.clipped" in figures
    assert "row_norm_cap.clipped" in figures


def test_no_constraints_change_nothing() -> None:
    chain = build_constraints([])
    after, state, figures = chain(model(), step(), chain.init(model()), evidence())
    assert torch.equal(after.rows, step().rows)
    assert (state, figures) == ({}, {})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("row_norm_cap", {"quantile": 0.0}),
        ("row_norm_cap", {"factor": -1.0}),
        ("row_drift", {"factor": float("inf")}),
        ("encoder_step", {"decay": 1.0}),
        ("encoder_step", {"colour": 1}),
    ],
)
def test_invalid_parameters_are_settings_errors(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=name):
        build_constraints([component(name, **params)])


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="row_drift"):
        build_constraints([component("row_drfit")])
