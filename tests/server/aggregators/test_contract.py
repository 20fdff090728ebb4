"""What rules of the registry promise beyond experiments/contracts/aggregators.py."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch

from common.errors import ConfigError, UnknownName
from common.settings import component
from server.aggregators import AGGREGATORS, build_aggregator
from tests.server.aggregators.helpers import apply, flat, flat_of, from_flat, make

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

every_rule = pytest.mark.parametrize("name", RULES)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@every_rule
def test_equal_updates_give_that_update(name: str) -> None:
    updates = make(N).take(torch.zeros(N, dtype=torch.int64))
    result = apply(name, updates, 2)
    if name not in PART_OF_ROWS:
        close(result.rows, updates.rows[0])


@every_rule
def test_all_of_the_weight_is_given_out(name: str) -> None:
    weights = apply(name, make(N), 2).weights
    if weights is None:
        assert name not in SUMS_TO_ONE
        return
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
