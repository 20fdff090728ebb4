"""Evidence across rounds: who stays alike is trusted less, for as long as it lasts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from common.errors import CheckpointError
from server.aggregators import Round, State
from server.aggregators.reputation import (
    HIGH,
    LEAST,
    LOW,
    Reputation,
    alikeness,
    encoder_cosines,
    rating,
)
from tests.server.aggregators.helpers import make

N, BAD, WIDTH = 40, 8, 400


def encoders(number: int, poison: float = 0.0, bad: int = BAD) -> Tensor:
    """One round of N devices; the first ``bad`` carry a common direction as ``poison`` of their update."""
    g = torch.Generator().manual_seed(number)
    people = torch.nn.functional.normalize(torch.randn(N, WIDTH, generator=g), dim=1)
    common = torch.nn.functional.normalize(torch.randn(WIDTH, generator=g), dim=0)
    people[:bad] = (1 - poison) * people[:bad] + poison * common
    return people


def a_round(number: int, nodes: int = 1, first: int = 1, **more: frozenset[tuple[int, int]]) -> Round:
    identity = tuple((first + i % nodes, i) for i in range(N))
    return Round(0, identity, torch.Generator(), number=number, **more)


def near(values: Tensor, peers: float) -> Tensor:
    return alikeness(encoder_cosines(values, torch.Generator().manual_seed(7)), peers)


def rated(
    encoders: Tensor, state: State, round_: Round, rule: Reputation | None = None
) -> tuple[Tensor, State]:
    rule = rule or Reputation()
    return rule(rule.cosines(encoders, round_), state, round_)


def through(
    rounds: int, poison: float, state: State | None = None, start: int = 0, node: int = 1
) -> tuple[Tensor, State]:
    """Weights of the last of some rounds, and the state after it."""
    state = state or {}
    weights = torch.ones(N)
    for number in range(start + 1, start + rounds + 1):
        weights, state = rated(encoders(number, poison), state, a_round(number, first=node))
    return weights, state


def test_alikeness_is_the_mean_cosine_to_the_nearest_less_the_median() -> None:
    values = make(9).encoder.double()
    unit = values / values.norm(dim=1, keepdim=True)
    centred = [[float(x) for x in row - unit.mean(0)] for row in unit]

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    nearest = []
    for i, own in enumerate(centred):
        found = sorted((cosine(own, other) for j, other in enumerate(centred) if j != i), reverse=True)
        nearest.append(sum(found[:3]) / 3)  # round(.4 · 8) = 3
    expected = [x - sorted(nearest)[4] for x in nearest]
    torch.testing.assert_close(near(values, 0.4), torch.tensor(expected).double(), rtol=1e-4, atol=1e-6)


def test_alikeness_knows_neither_scale_nor_order() -> None:
    values, order = encoders(1, 0.4), torch.randperm(N, generator=torch.Generator().manual_seed(5))
    found = near(values, 0.2)
    torch.testing.assert_close(near(1e-3 * values, 0.2), found, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(near(values[order], 0.2), found[order], rtol=1e-4, atol=1e-6)


def test_one_loud_device_hides_nobody() -> None:
    values = encoders(1, 0.5)
    quiet = near(values, 0.2)
    values[N - 1] *= 1e4
    torch.testing.assert_close(near(values, 0.2), quiet, rtol=1e-4, atol=1e-6)


def test_people_keep_their_weight_for_ever() -> None:
    weights, _ = through(30, 0.0)
    assert weights.tolist() == [1.0] * N


def test_who_stays_alike_ends_in_quarantine_and_the_others_gain() -> None:
    first, _ = through(1, 0.5)
    assert float(first[:BAD].min()) > 0, "no single round leads to quarantine"
    weights, _ = through(12, 0.5)
    assert weights[:BAD].tolist() == [0.0] * BAD
    assert weights[BAD:].tolist() == [1.0] * (N - BAD)


def test_a_little_evidence_in_each_of_many_rounds_adds_up() -> None:
    """What no single round shows, nor the last few: x = .08 in each of fifty."""
    rule, record = Reputation(), torch.zeros(1, 2, 2, dtype=torch.float64)
    fades = torch.tensor([rule.long, rule.short])[:, None]
    for _ in range(50):
        record = fades * record + torch.tensor([0.08, 1.0])
    assert float(rule.weight(record.view(1, 4))) < 0.5
    assert float(rule.weight(record[:, [1, 1]].view(1, 4))) == 1.0


def test_quarantine_ends_when_rounds_look_like_others() -> None:
    _, state = through(12, 0.5)
    at = [float(through(k, 0.0, state, start=12)[0][:BAD].mean()) for k in (1, 6, 40)]
    assert at[0] == 0.0
    assert at[0] <= at[1] < at[2] == 1.0


def test_evidence_of_one_round_is_bounded() -> None:
    copies = encoders(1)
    copies[:BAD] = copies[0]
    _, state = rated(copies, {}, a_round(1))
    sums = state["history"][:, 0]
    assert float(sums.max()) == pytest.approx(HIGH)
    assert float(sums.min()) >= LOW


@pytest.mark.parametrize(("hostile", "most"), [(1, 0.5), (2, 0.1), (5, 0.0)])
def test_credit_cannot_be_saved_up(hostile: int, most: float) -> None:
    """After a hundred decent rounds a device that turns hostile has little weight at once, and soon none."""
    _, decent = through(100, 0.0)
    weights, _ = through(hostile, 0.5, decent, start=100)
    assert float(weights[:BAD].max()) <= most


def test_the_weight_follows_the_formula() -> None:
    short = torch.tensor([[0.0, 0.0], [0.3, 2.0], [0.44, 3.0], [0.9, 3.0], [-0.2, 1.0]]).double()
    records = torch.cat([short - torch.tensor([0.3, 0.0]), short], dim=1)  # the long memory has seen better
    found = Reputation(tolerance=0.08, strength=3.0, quarantine=2.0).weight(records)
    assert rating(records).tolist() == pytest.approx([0, 0.1, 0.11, 0.225, -0.1])
    expected = [1.0, (1 + 3 * 0.25) ** -2, (1 + 3 * 0.375) ** -2, 0.0, 1.0]
    assert found.tolist() == pytest.approx(expected)


def test_a_record_of_an_earlier_version_is_refused() -> None:
    _, state = through(1, 0.0)
    before = {**state, "history": state["history"][:, :2]}
    with pytest.raises(CheckpointError, match="2 values a device where this version keeps 4"):
        rated(encoders(2), before, a_round(2))


@pytest.mark.parametrize("rule", [Reputation(), Reputation(strength=0)], ids=["too few", "off"])
def test_some_rounds_say_nothing(rule: Reputation) -> None:
    n = LEAST - 1 if rule.strength else N
    first = Round(0, tuple((1, i) for i in range(n)), torch.Generator(), number=1)
    weights, state = rated(encoders(1, 0.9)[:n], {}, first, rule)
    assert weights.tolist() == [1.0] * n
    assert state == {}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"tolerance": 0.0}, "tolerance"),
        ({"long": 1.0}, "long"),
        ({"short": 1.0}, "short"),
        ({"quarantine": 0.5}, "quarantine at least 1"),
        ({"strength": -1.0}, "strength must be 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Reputation(**wrong)


def test_a_round_of_few_forgets_nobody() -> None:
    """It says nothing new; who was out stays out, and the record is as it was."""
    weights, state = through(12, 0.8)
    assert weights[:BAD].max() == 0
    few = LEAST - 1
    small = Round(0, tuple((1, i) for i in range(few)), torch.Generator(), number=13)
    found, after = rated(encoders(13)[:few], state, small)
    assert found.max() == 0  # all of them are among the bad
    assert after is state
    strangers = Round(0, tuple((2, i) for i in range(few)), torch.Generator(), number=13)
    assert rated(encoders(13)[:few], state, strangers)[0].tolist() == [1.0] * few
