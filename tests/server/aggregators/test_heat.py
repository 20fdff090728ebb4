"""Heat correction: the mean over those who hold a row, up to the cap."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.errors import ConfigError, RunError, UnknownName
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import AGGREGATORS, Aggregate, build_aggregator
from server.aggregators.pre import Heat, with_pre
from tests.server.aggregators.helpers import a_round, apply, classic, flat_of, make, served


def heated(
    name: str, updates: DeviceUpdates, f: int = 0, cap: float = 10.0, pre: tuple[str, ...] = ()
) -> Aggregate:
    parts = [*map(component, pre), component("heat", cap=cap)]
    rule = with_pre(build_aggregator(component(name)), parts)
    result, _ = rule(updates, rule.init(), served(updates, f))
    return result


def test_the_mean_becomes_the_mean_of_the_holders() -> None:
    updates = classic(9, 2)
    assert updates.touched is not None
    result = heated("mean", updates)
    for k in range(updates.rows.shape[1]):
        holders = updates.rows[updates.touched[:, k], k]
        expected = holders.mean(dim=0) if len(holders) else torch.zeros(updates.rows.shape[2])
        torch.testing.assert_close(result.rows[k], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(result.encoder, apply("mean", updates).encoder)


def test_the_cap_bounds_what_one_holder_gains() -> None:
    touched = torch.zeros(20, 3, dtype=torch.bool)
    touched[0, 0] = touched[:5, 1] = True
    assert Heat(cap=8.0).factors(touched).tolist() == [8.0, 4.0, 8.0]
    assert Heat(cap=1.0).factors(touched).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", sorted(set(AGGREGATORS) - {"hics"}))
def test_every_rule_can_be_heated(name: str) -> None:
    updates = classic(11, 3)
    assert updates.touched is not None
    plain, ours = apply(name, updates, 2), heated(name, updates, 2, cap=3.0)
    factors = (11 / updates.touched.sum(dim=0).clamp_min(1)).clamp_max(3.0)
    torch.testing.assert_close(ours.rows, plain.rows * factors[:, None])
    assert torch.equal(ours.encoder, plain.encoder)
    assert ours.figures["heat.capped"] == pytest.approx(float((factors == 3.0).double().mean()))


def test_in_the_slice_protocol_it_changes_nothing() -> None:
    assert torch.equal(flat_of(heated("krum", make(9), 2)), flat_of(apply("krum", make(9), 2)))
    everyone = replace(make(9), touched=torch.ones(9, 5, dtype=torch.bool))
    assert torch.equal(flat_of(heated("krum", everyone, 2)), flat_of(apply("krum", make(9), 2)))


def test_it_goes_with_mixers_and_keeps_the_bound() -> None:
    updates = classic(12, 1)
    assert updates.touched is not None
    both = heated("krum", updates, 2, pre=("nnm",))
    alone = with_pre(build_aggregator(component("krum")), [component("nnm")])
    plain, _ = alone(updates, alone.init(), a_round(12, 2))
    factors = Heat().factors(updates.touched)
    torch.testing.assert_close(both.rows, plain.rows * factors[:, None])
    with pytest.raises(RunError, match="at least 7"):
        heated("krum", make(6), 2)


def test_a_rule_that_counts_holders_is_not_heated_twice() -> None:
    for rule in (component("median", electorate="touched"), component("hics")):
        with pytest.raises(ConfigError, match="twice"):
            with_pre(build_aggregator(rule), [component("nnm"), component("heat")])
    with_pre(build_aggregator(component("median")), [component("heat")])


def test_wrong_values_and_names() -> None:
    rule = build_aggregator(component("mean"))
    for cap in (0.5, 0.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="heat"):
            with_pre(rule, [component("heat", cap=cap)])
    with pytest.raises(UnknownName, match="heat"):
        with_pre(rule, [component("heap")])
