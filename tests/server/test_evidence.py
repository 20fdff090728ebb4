"""What constraints may know, and from whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from common.probes import Audience, last_states, made_up
from common.seeding import generator
from common.tasks import GlobalModel
from server.aggregators.mean import Mean
from server.constraints.panel import PULLED
from server.optimizers import ParameterUpdate
from server.round.evidence import gather, trusted_updates
from server.round.pipeline import Pipeline
from tests.server.federation import ITEMS
from tests.server.test_pipeline import SLICE, admitted, pipeline


@pytest.mark.parametrize(
    ("weights", "heard"),
    [
        (None, [0, 1, 2, 3, 4, 5]),
        ([0.2, 0.2, 0.2, 0.2, 0.1, 0.1], [0, 1, 2, 3, 4, 5]),
        ([0.0, 0.2, 0.2, 0.09, 0.3, 0.21], [1, 2, 4, 5]),
        ([float("nan")] * 6, [0, 1, 2, 3, 4, 5]),
        ([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [0, 1, 2, 3, 4, 5]),  # Krum: one is taken, nobody is accused
    ],
)
def test_whom_the_rule_does_not_believe_has_no_voice(weights: list[float] | None, heard: list[int]) -> None:
    found = replace(admitted(pipeline()), newcomers=torch.arange(6) == 5)
    assert found.updates is not None
    marks = torch.arange(6, dtype=torch.int8)[:, None].expand(6, len(SLICE))
    said = trusted_updates(found, marks, None if weights is None else torch.tensor(weights))
    assert said.updates.device[said.places].tolist() == heard
    assert said.identity == tuple((1, k) for k in heard)
    assert said.marks[:, 0].tolist() == heard
    assert torch.equal(said.updates.rows[said.places], found.updates.rows[heard])
    assert said.newcomers is not None
    assert said.newcomers.tolist() == [k == 5 for k in heard]


def test_only_encoders_of_trusted_devices_are_compared() -> None:
    marks = torch.full((6, len(SLICE)), PULLED, dtype=torch.int8)
    cosines = torch.arange(36.0).view(6, 6)
    said = trusted_updates(admitted(pipeline()), marks, torch.tensor([0.0, 1, 1, 0, 1, 1]), cosines)
    assert said.alike is not None
    assert said.alike.tolist() == [[6.0 * u + v for v in (1, 2, 4, 5)] for u in (1, 2, 4, 5)]


@dataclass(frozen=True)
class Comparing(Mean):
    """The mean, for which all encoders are alike by a tenth."""

    def __call__(self, updates: Any, state: Any, round_: Any) -> Any:
        combined, state = super().__call__(updates, state, round_)
        n = len(updates)
        return replace(combined, alike=torch.full((n, n), 0.1).fill_diagonal_(0.0)), state


def test_what_a_rule_compares_reaches_the_cap() -> None:
    rules = replace(pipeline("strategy.constraints=[exposure_cap]"), aggregator=Comparing())
    after = rules.step(rules.init(), admitted(rules), 1).state.constraints
    pairs, alike = after["0/pairs"], after["0/alike"]
    assert float(pairs.max()) > 0
    torch.testing.assert_close(alike, 0.1 * pairs)
    silent = replace(rules, aggregator=Mean())
    assert float(silent.step(silent.init(), admitted(silent), 1).state.constraints["0/pairs"].max()) == 0


def test_mixtures_of_updates_are_not_compared_as_devices() -> None:
    """Bucketing leaves fewer updates than devices; the round is not lost, and no pairs are counted."""
    rules = pipeline("strategy.aggregator=sieve", "strategy.pre=[{name: bucketing, size: 2}]")
    found = admitted(rules)
    assert found.updates is not None
    whole = replace(rules, aggregator=replace(rules.aggregator, rule=Comparing()))
    step = whole.round(whole.init(), found, 1)
    assert step.lost == ""
    assert float(step.state.constraints["0/pairs"].max()) == 0


def test_what_is_gathered_comes_from_the_voices_alone() -> None:
    rules = pipeline()
    marks = torch.full((6, len(SLICE)), PULLED, dtype=torch.int8)
    said = trusted_updates(admitted(rules), marks, torch.tensor([0.0, 1, 1, 0, 1, 1]))
    begun, popularity = rules.init(), torch.ones(ITEMS, dtype=torch.float64)
    found = gather(rules.config, begun, partial(rules.moved, begun.model), popularity, said, 2)
    assert found.round_marks.identity == ((1, 1), (1, 2), (1, 4), (1, 5))
    shown = found.witnesses(len(SLICE)).states
    own = torch.nn.functional.normalize(said.updates.rows[said.places], dim=2).flatten(0, 1)
    assert len(shown) == len(own)
    assert all(bool((state == own).all(dim=1).any()) for state in shown)


@dataclass(frozen=True)
class Deaf(Mean):
    """The mean of all but the first device."""

    def __call__(self, updates: Any, state: Any, round_: Any) -> Any:
        combined, state = super().__call__(updates, state, round_)
        weights = torch.ones(len(updates))
        weights[0] = 0
        return replace(combined, weights=weights / weights.sum()), state


def test_the_round_gives_constraints_no_one_else() -> None:
    rules = replace(pipeline("strategy.constraints=[exposure_cap]"), aggregator=Deaf())
    step = rules.step(rules.init(), admitted(rules), 1)
    assert step.state.constraints["0/identity"].tolist() == [[1, k] for k in range(1, 6)]


def users(rules: Pipeline, popularity: Tensor, round_: int, delta: ParameterUpdate, taste: float) -> Audience:
    begun, six = rules.init(), admitted(rules)
    assert six.updates is not None
    lengths = torch.tensor([2, 2, 9, 2, 2, 9], dtype=torch.int32)
    said = trusted_updates(
        replace(six, updates=replace(six.updates, history=lengths)), torch.zeros(6, 4), None
    )
    evidence = gather(rules.config, begun, partial(rules.moved, begun.model), popularity, said, round_)
    return evidence.users(delta, 40, taste)


def test_made_up_users_are_those_of_the_round_after_the_step() -> None:
    rules = pipeline("model.max_len=6")
    begun, popularity = rules.init(), torch.arange(ITEMS, dtype=torch.float64)
    delta = ParameterUpdate(
        {
            name: torch.full_like(block, 0.1)
            for name, block in rules.layout.unflatten(begun.model.encoder).items()
        },
        torch.ones(len(SLICE), 4),
        SLICE,
    )
    found = users(rules, popularity, 3, delta, 0.0)
    draw = generator(begun.secret, "probes", 3)
    lengths = torch.tensor([2, 2, 9, 2, 2, 9])[torch.randint(6, (40,), generator=draw)].clamp(max=6)
    assert set(lengths.tolist()) == {2, 6}  # as long as those that replied, a window at most
    items = made_up(popularity, lengths, draw)
    after = GlobalModel(begun.model.encoder + 0.1, begun.model.table.index_add(0, SLICE.long(), delta.rows))
    assert torch.equal(found.histories, items)
    torch.testing.assert_close(found.states, last_states(rules.config.model, after, items))
    assert not torch.allclose(found.states, last_states(rules.config.model, begun.model, items))
    assert not torch.allclose(found.states, users(rules, popularity, 4, delta, 0.0).states)
    assert not torch.equal(users(rules, popularity, 3, delta, 9.0).histories, items)
