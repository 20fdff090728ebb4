"""What every rule in the registry promises, whichever it is."""

from __future__ import annotations

import inspect
import math
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch

from common.errors import ConfigError, UnknownName
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import AGGREGATORS, build_aggregator
from server.round.admission import faults
from tests.server.aggregators.helpers import P, apply, classic, flat, flat_of, from_flat, make, served

RULES = sorted(AGGREGATORS)
BY_VALUE = ("trimmed_mean", "meamed", "phocas", "bulyan")
BY_SIGN = ("rlr", "signguard", "lasa")
PART_OF_ROWS = ("sieve", "hics")
"""Rules that hold rows back even where all devices agree: see their own tests."""
IN_GRAM_SPACE = ("mean", "krum", "geometric_median", "multi_krum", "mda", "caf", "dnc")
TRANSLATES = ("median", "mixed_rfa", "fldetector", *IN_GRAM_SPACE, *BY_VALUE)
CLIPS = ("norm_clip", "centred_clipping", "foolsgold", "flame", "fltrust")
SCALES = (*TRANSLATES, *CLIPS, "sieve", "hics", *BY_SIGN)
SUMS_TO_ONE = (*IN_GRAM_SPACE, "mixed_rfa", "foolsgold", "fldetector", "union")
N = 11
"""Devices of a round against two malicious ones: what the most demanding rule needs."""
TENSORS = ("encoder", "rows", "items", "history", "device")

every_rule = pytest.mark.parametrize("name", RULES)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@every_rule
@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_shape_dtype_and_finiteness_without_attackers(name: str, n: int) -> None:
    updates = make(n)
    result = apply(name, updates)
    assert result.encoder.shape == (P,)
    assert result.rows.shape == updates.rows.shape[1:]
    assert result.encoder.dtype == result.rows.dtype == torch.float32
    assert flat_of(result).isfinite().all()


@every_rule
@pytest.mark.parametrize("n", [1, 8])
def test_the_input_is_neither_changed_nor_aliased(name: str, n: int) -> None:
    updates = make(n)
    before = {key: getattr(updates, key).clone() for key in TENSORS}
    result = apply(name, updates)
    result.encoder.fill_(99.0)
    result.rows.fill_(99.0)
    if result.weights is not None:
        result.weights.fill_(99.0)
    assert all(torch.equal(getattr(updates, key), before[key]) for key in TENSORS)


@every_rule
def test_the_same_round_gives_the_same_bits(name: str) -> None:
    first, second = apply(name, make(N), 2), apply(name, make(N), 2)
    assert torch.equal(flat_of(first), flat_of(second))
    assert first.figures == second.figures


@every_rule
def test_flowers_numbers_of_nodes_are_taken(name: str) -> None:
    """They have 64 bits without a sign; what a rule remembers of a device has to be found again by them."""
    rule, updates = build_aggregator(component(name)), make(N)
    state, other = rule.init(), rule.init()
    for number in range(1, 5):
        small = replace(served(updates, 2), number=number)
        large = replace(served(updates, 2), number=number, identity=high(small.identity))
        one, state = rule(updates, state, small)
        same, other = rule(updates, other, large)
        assert torch.equal(flat_of(one), flat_of(same))


def high(identity: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The same devices on nodes of the upper half."""
    return tuple((2**64 - 1 - node, device) for node, device in identity)


@every_rule
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_devices_does_not_matter(name: str, seed: int) -> None:
    updates = make(N, seed)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    one, other = apply(name, updates, 2), apply(name, updates.take(order), 2)
    close(flat_of(one), flat_of(other))
    if one.weights is not None and other.weights is not None:
        close(one.weights[order], other.weights)


@every_rule
def test_equal_updates_give_that_update(name: str) -> None:
    updates = make(N).take(torch.zeros(N, dtype=torch.int64))
    result = apply(name, updates, 2)
    close(result.encoder, updates.encoder[0])
    if name not in PART_OF_ROWS:
        close(result.rows, updates.rows[0])


@every_rule
def test_zero_updates_give_zero(name: str) -> None:
    updates = from_flat(torch.zeros(N, flat(make(1)).shape[1]), make(N))
    assert flat_of(apply(name, updates, 2)).abs().max() == 0


@every_rule
@pytest.mark.parametrize("size", [1e-40, 1e-30, 2e18])
@pytest.mark.parametrize("devices", [[4], [4, 5], list(range(N))])
@pytest.mark.parametrize("protocol", ["slice", "device"])
def test_all_that_admission_lets_through_stays_finite(
    name: str, size: float, devices: list[int], protocol: str
) -> None:
    """NaN, Inf and norms beyond float32 die there; what is left may be very large or next to nothing."""
    updates = make(N) if protocol == "slice" else classic(N, 3)
    scale = torch.ones(N)
    scale[devices] = size
    updates = replace(
        updates, encoder=updates.encoder * scale[:, None], rows=updates.rows * scale[:, None, None]
    )
    assert not faults(updates)
    rule = build_aggregator(component(name))
    state = rule.init()
    for number in range(1, 4):  # some rules remember
        result, state = rule(updates, state, replace(served(updates, 2), number=number))
        assert flat_of(result).isfinite().all()
        assert result.weights is None or bool(result.weights.isfinite().all())
        assert all(math.isfinite(figure) for figure in result.figures.values())
        assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())


@every_rule
def test_weights_are_shares(name: str) -> None:
    weights = apply(name, make(N), 2).weights
    if weights is None:
        assert name not in SUMS_TO_ONE
        return
    assert weights.shape == (N,)
    assert weights.dtype == torch.float32
    assert 0 <= weights.min() <= weights.max() <= 1
    assert float(weights.sum()) <= 1 + 1e-6
    if name in SUMS_TO_ONE:
        assert float(weights.sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", SUMS_TO_ONE)
def test_the_aggregate_is_the_weighted_sum_it_reports(name: str) -> None:
    updates = make(N)
    result = apply(name, updates, 2)
    assert result.weights is not None
    close(flat_of(result), result.weights.double() @ flat(updates))


@pytest.mark.parametrize("name", TRANSLATES)
def test_moving_all_updates_moves_the_aggregate(name: str) -> None:
    updates = make(N)
    shift = torch.randn(flat(updates).shape[1], generator=torch.Generator().manual_seed(1))
    moved = from_flat((flat(updates) + shift).float(), updates)
    close(flat_of(apply(name, moved, 2)), flat_of(apply(name, updates, 2)) + shift, 1e-4)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
def test_scaling_all_updates_scales_the_aggregate(name: str, scale: float) -> None:
    updates = make(N)
    scaled = replace(updates, encoder=updates.encoder * scale, rows=updates.rows * scale)
    close(flat_of(apply(name, scaled, 2)) / scale, flat_of(apply(name, updates, 2)))


@every_rule
def test_a_claimed_history_does_not_buy_weight_by_default(name: str) -> None:
    updates = make(N)
    claim = updates.history.clone()
    claim[3] = 1_000_000_000
    greedy = apply(name, replace(updates, history=claim), 2)
    assert torch.equal(flat_of(greedy), flat_of(apply(name, updates, 2)))


@every_rule
def test_non_contiguous_rows_are_read_right(name: str) -> None:
    updates = make(N)
    strided = replace(updates, rows=updates.rows.transpose(1, 2).contiguous().transpose(1, 2))
    assert not strided.rows.is_contiguous()
    close(flat_of(apply(name, strided, 2)), flat_of(apply(name, updates, 2)))


@every_rule
def test_a_rule_is_a_frozen_record_of_its_parameters(name: str) -> None:
    rule = build_aggregator(component(name))
    parameters = [f.name for f in fields(rule)]  # type: ignore[arg-type]
    assert list(inspect.signature(AGGREGATORS[name]).parameters) == parameters
    with pytest.raises((FrozenInstanceError, AttributeError)):
        rule.anything = 1  # type: ignore[attr-defined]


@every_rule
def test_an_unknown_parameter_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="colour"):
        build_aggregator(component(name, colour="red"))


def test_an_unknown_rule_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="krum"):
        build_aggregator(component("krumm"))


@every_rule
def test_the_docstring_states_source_complexity_and_breakdown(name: str) -> None:
    text = inspect.getdoc(AGGREGATORS[name]) or ""
    assert "Complexity" in text
    assert "reakdown" in text
    assert "arXiv" in text


@every_rule
def test_state_is_returned_not_changed(name: str) -> None:
    rule = build_aggregator(component(name))
    state = rule.init()
    before = {key: value.clone() for key, value in state.items()}
    updates: DeviceUpdates = make(N)
    _, after = rule(updates, state, served(updates, 2))
    assert set(state) == set(before)
    assert all(torch.equal(state[key], before[key]) for key in before)
    assert all(isinstance(value, torch.Tensor) for value in after.values())


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mean", {"weighting": "bytes"}),
        ("norm_clip", {"max_norm": 0.0}),
        ("norm_clip", {"max_norm": float("nan")}),
        ("median", {"electorate": "some"}),
        ("krum", {"select": -1}),
        ("krum", {"select": 1.5}),
        ("krum", {"byzantine": -1}),
        ("krum", {"neighbours": "all"}),
        ("geometric_median", {"smoothing": 0.0}),
        ("geometric_median", {"smoothing": float("inf")}),
        ("geometric_median", {"max_iterations": 0}),
        ("geometric_median", {"tolerance": "small"}),
    ],
)
def test_invalid_values_are_settings_errors(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=name):
        build_aggregator(component(name, **params))
