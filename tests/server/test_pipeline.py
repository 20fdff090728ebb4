"""The server's part of a round, without messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.errors import ConfigError, RunError, UnknownName
from common.seeding import generator
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import AGGREGATORS, Aggregate, Round, State, build_aggregator
from server.aggregators.mean import Mean
from server.aggregators.memory import Identity
from server.round.pipeline import Pipeline
from server.round.recipe import bound
from server.round.verdicts import Admitted, Audit
from tests.server.federation import ITEMS, config

SLICE = torch.tensor([2, 5, 9, 30], dtype=torch.int32)


def admitted(pipeline: Pipeline, n: int = 6) -> Admitted:
    g = generator(1, "updates")
    updates = DeviceUpdates(
        encoder=torch.randn(n, pipeline.layout.total, generator=g),
        rows=torch.randn(n, len(SLICE), 4, generator=g),
        items=SLICE,
        history=torch.full((n,), 5, dtype=torch.int32),
        device=torch.arange(n),
    )
    identity = Identity(torch.stack([torch.ones(n, dtype=torch.int64), torch.arange(n)], dim=1))
    return Admitted(updates, identity, Audit(1, identity, torch.ones(n, dtype=torch.bool)))


def pipeline(*overrides: str) -> Pipeline:
    return Pipeline.build(config("strategy.warmup_rounds=0", *overrides), ITEMS)


def test_a_step_of_sgd_under_the_mean_is_the_mean() -> None:
    rules = pipeline("strategy.optimizer=sgd", "strategy.lr=0.5")
    begun, found = rules.init(), admitted(rules)
    assert found.updates is not None
    step = rules.step(begun, found, 1)
    table = begun.model.table.clone()
    table[SLICE.long()] += 0.5 * found.updates.rows.mean(0)
    torch.testing.assert_close(step.state.model.table, table)
    encoder = begun.model.encoder + 0.5 * found.updates.encoder.mean(0)
    torch.testing.assert_close(step.state.model.encoder, encoder)
    assert step.state.round == 1
    assert step.weights is not None
    assert step.weights.tolist() == pytest.approx([1 / 6] * 6)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "block_adam", "yogi", "rowwise_adagrad"])
def test_a_rule_may_ask_what_the_step_would_make_of_one_update(optimizer: str) -> None:
    """In the second round, so that there are moments; asking moves nothing."""
    rules = pipeline(f"strategy.optimizer={optimizer}", "strategy.lr=0.5")
    begun = rules.step(rules.init(), admitted(rules), 1).state
    found = admitted(rules, 1)
    assert found.updates is not None
    before = {name: value.clone() for name, value in begun.tensors().items()}
    asked = rules._alone(begun, found.updates.rows[0], SLICE, 2)
    assert all(torch.equal(value, before[name]) for name, value in begun.tensors().items())
    moved = rules.step(begun, found, 2).state.model.table - begun.model.table
    torch.testing.assert_close(asked, moved[SLICE.long()], rtol=1e-5, atol=1e-6)


def test_newcomers_are_kept_out_of_the_count_of_holders() -> None:
    rules = pipeline("strategy.constraints=[exposure_cap]")
    late = replace(admitted(rules), newcomers=torch.tensor([k in (2, 4) for k in range(6)]))
    step = rules.step(rules.init(), late, 1)
    assert step.state.constraints["0/identity"].tolist() == [[1, 0], [1, 1], [1, 3], [1, 5]]


def test_rows_outside_the_slice_and_the_padding_stay() -> None:
    rules = pipeline("strategy.optimizer=adam")
    begun = rules.init()
    after = rules.step(begun, admitted(rules), 1).state.model.table
    moved = (after != begun.model.table).any(dim=1).nonzero().flatten().tolist()
    assert moved == SLICE.tolist()


def test_a_step_changes_nothing_it_was_given() -> None:
    rules = pipeline("strategy.optimizer=yogi", "strategy.aggregator=geometric_median")
    begun, found = rules.init(), admitted(rules)
    assert found.updates is not None
    before = {name: tensor.clone() for name, tensor in begun.tensors().items()}
    rows = found.updates.rows.clone()
    rules.step(begun, found, 1)
    assert all(torch.equal(before[name], tensor) for name, tensor in begun.tensors().items())
    assert torch.equal(rows, found.updates.rows)


def test_the_rate_rises_stays_and_falls_over_the_rounds() -> None:
    settings = ("train.rounds=10", "strategy.decay_from=0.6", "strategy.lr=1", "strategy.warmup_rounds=2")
    rates = [pipeline(*settings).rate(round_) for round_ in range(1, 11)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize(
    ("claim", "devices", "expected"),
    [(0.2, 16, 4), (0.2, 15, 3), (0, 9, 0), (3, 50, 3), (0.07, 100, 7), (0.14, 50, 7)],
)
def test_byzantine_is_a_number_or_a_share_rounded_up(claim: float, devices: int, expected: int) -> None:
    assert bound(pipeline(f"strategy.byzantine={claim}").config, devices) == expected


def test_a_rule_that_needs_more_devices_says_so() -> None:
    rules = pipeline("strategy.aggregator=krum")
    with pytest.raises(RunError, match="needs at least"):
        rules.step(rules.init(), admitted(rules, 2), 1)


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("strategy.aggregator=krumm", "aggregator"),
        ("strategy.optimizer=adamm", "optimizer"),
        ("strategy.constraints=[nope]", "constraint"),
        ("strategy.pre=[nmn]", "pre-aggregator"),
        ("model.name=bert", "model"),
    ],
)
def test_unknown_names_are_told_with_the_valid_ones(setting: str, kind: str) -> None:
    with pytest.raises(UnknownName) as found:
        pipeline(setting)
    assert found.value.kind == kind
    assert "valid:" in str(found.value)


def test_a_round_that_can_never_be_large_enough_is_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match=r"'krum' with strategy.byzantine = 3 .* at least 9 devices"):
        pipeline("strategy.aggregator=krum", "strategy.byzantine=3", "train.devices_per_round=8")
    with pytest.raises(ConfigError, match="at least 17 devices"):  # 9 buckets of two
        pipeline(
            "strategy.aggregator=krum",
            "strategy.pre=[bucketing]",
            "strategy.byzantine=3",
            "train.devices_per_round=16",
        )
    with pytest.raises(ConfigError, match="strategy.pre: krum after bucketing: no number of devices"):
        pipeline(
            "strategy.aggregator=krum",
            "strategy.pre=[{name: bucketing, size: 0}]",
            "strategy.byzantine=1",
        )


@pytest.mark.parametrize("rule", sorted(AGGREGATORS))
def test_the_bound_of_every_rule_is_told_before_the_run(rule: str) -> None:
    """One device fewer than its bound is refused, the bound itself is not."""
    named = (f"strategy.aggregator={rule}", "strategy.byzantine=3", "strategy.trusted_nodes=[9]")
    least = max(4, build_aggregator(component(rule)).least(3))
    assert bound(pipeline(*named, f"train.devices_per_round={least}").config, least) == 3
    with pytest.raises(ConfigError, match=f"at least {least} devices|devices_per_round = 3: at most 2"):
        pipeline(*named, f"train.devices_per_round={least - 1}")


def test_unknown_parameters_are_told_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="aggregator 'krum' has no parameter 'f'; valid: "):
        pipeline("strategy.aggregator={name: krum, f: 3}")


def test_the_start_depends_on_the_seed() -> None:
    starts = [pipeline(f"seed={s}").init().model.table for s in (1, 1, 2)]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_the_rules_draws_depend_on_the_seed_and_the_round() -> None:
    class Drawing(Mean):
        def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
            drawn.append(float(torch.rand(1, generator=round_.generator)))
            return super().__call__(updates, state, round_)

    drawn: list[float] = []
    for seed, number in ((0, 1), (0, 1), (0, 2), (1, 1)):
        rules = replace(pipeline(f"seed={seed}"), aggregator=Drawing())
        rules.step(rules.init(), admitted(rules), number)
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
