"""Several slices a round on the server: the draw, admission, the rule by slice, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.errors import ConfigError, RunError
from common.seeding import generator
from common.tasks import GlobalModel
from common.updates import DeviceUpdates, UpdateSpec, of_slices
from common.wire import Reason, encode_updates
from common.wire.replies import Reply
from server.aggregators import AGGREGATORS, Aggregate, Round, State
from server.aggregators.by_slice import BySlice
from server.aggregators.mean import Mean
from server.aggregators.median import Median
from server.aggregators.memory import Identity
from server.aggregators.sieve import Sieve
from server.constraints.panel import PULLED, TRAINED
from server.round.admission import admit
from server.round.drawing import draw_slice, draw_weights, inclusion
from server.round.evidence import TrustedUpdates, spread, witnesses
from server.round.pipeline import Pipeline
from server.round.verdicts import Admitted, Audit
from tests.server.federation import ITEMS, config
from tests.server.test_drawing import draw

SLICES = torch.tensor([[2, 5, 9, 30], [1, 6, 7, 12], [3, 4, 10, 11]], dtype=torch.int32)
P, K, D = 6, 4, 3


def updates(numbers: list[int], seed: int = 0, width: int = P, dim: int = D) -> DeviceUpdates:
    g = torch.Generator().manual_seed(seed)
    n = len(numbers)
    return DeviceUpdates(
        encoder=torch.randn(n, width, generator=g),
        rows=torch.randn(n, K, dim, generator=g),
        items=SLICES,
        history=torch.full((n,), 9, dtype=torch.int32),
        device=torch.arange(n),
        slice=torch.tensor(numbers),
    )


def identity(n: int) -> Identity:
    return Identity(torch.stack([torch.ones(n, dtype=torch.int64), torch.arange(n)], dim=1))


def a_round(n: int, number: int = 1) -> Round:
    return Round(0, identity(n), torch.Generator().manual_seed(5), number)


# The draw


def test_slices_are_disjoint_sorted_and_one_draw_without_replacement() -> None:
    popularity = torch.arange(50.0)
    items, log_q = draw_slice(popularity, 8, generator(1), slices=5)
    one, _ = draw_slice(popularity, 40, generator(1))
    assert items.sort().values.tolist() == one.tolist()  # the same race
    assert all(part.tolist() == sorted(set(part.tolist())) for part in items.view(5, 8))
    assert log_q.shape == (40,)
    few, _ = draw_slice(popularity, 20, generator(1), slices=4)
    assert few.view(4, -1).shape == (4, 12)  # as many as there are


def test_one_slice_is_drawn_as_ever() -> None:
    """The numbers of the generator that a round with one slice takes have not changed."""
    gen = generator(3)
    items, log_q = draw_slice(torch.arange(30.0), 7, gen, 0.5, 1)
    other = generator(3)
    again = torch.rand(30, generator=other, dtype=torch.float64)
    weights = draw_weights(torch.arange(30.0), 0.5)
    first = (-torch.log1p(-again) / weights).argsort()[:7].sort().values
    assert items.tolist() == (first + 1).tolist()
    assert torch.equal(log_q, inclusion(weights, 7)[first].log().float())
    assert torch.equal(gen.get_state(), other.get_state())


def test_each_item_is_in_each_slice_as_often_as_log_q_says() -> None:
    popularity, slices, size, turns = torch.linspace(0, 60, 40) ** 1.5, 4, 6, 8000
    gen = generator(0, "frequencies")
    count, claimed = torch.zeros(slices, 40), torch.zeros(40)
    for _ in range(turns):
        items, log_q = draw_slice(popularity, size, gen, 1.0, slices)
        index = items.long() - 1
        claimed[index] = log_q.exp()
        count[torch.arange(slices).repeat_interleave(size), index] += 1
    q = count / turns
    assert claimed.sum() == pytest.approx(size, abs=1e-4)
    deviation = (claimed * (1 - claimed) / turns).sqrt()
    assert float(((q - claimed).abs() / deviation).max()) < 5
    mean = (claimed * (1 - slices * claimed) / (slices * turns)).sqrt().clamp(min=1e-3)
    assert float(((q.mean(0) - claimed).abs() / mean).max()) < 5
    alone = inclusion(draw_weights(popularity, 1.0), size)  # of a race of K: another law
    assert float((alone / claimed).max() / (alone / claimed).min()) > 1.5


def test_a_task_of_several_slices() -> None:
    drawing = draw("train.slices=4", "train.slice_size=6")
    assert drawing.task.rows.shape == (4, 6)
    assert drawing.spec().items.shape == (4, 6)
    one = draw("train.slice_size=6")
    assert drawing.limits() == one.limits()  # a device sends one slice
    assert len(draw("train.slices=4", "train.slice_size=20").task.items) == 28  # 7 each of 30


@pytest.mark.parametrize("slices", [2, 5])
def test_automatic_slices_share_what_one_would_hold(slices: int) -> None:
    """A device is busy if any slice holds a next item of it."""
    one = len(draw("train.slice_size=auto").task.items)
    several = draw("train.slice_size=auto", f"train.slices={slices}").task.rows
    assert several.shape == (slices, -(-one // slices))


# Admission


def reply(node: int, sent: DeviceUpdates) -> Reply:
    return Reply(node, sent.device, encode_updates(sent, "run", 5, "float32"))


def test_devices_are_admitted_side_by_side_with_their_slice() -> None:
    spec = UpdateSpec("run", 5, P, D, SLICES, 30, torch.zeros(0, dtype=torch.int64))
    first, second = updates([2, 0, 2]), replace(updates([0, 1], 1), device=torch.tensor([1, 9]))
    found = admit([reply(4, first), reply(3, second)], spec, 50)
    assert found.updates is not None
    assert found.updates.slice is not None
    assert found.updates.slice.tolist() == [0, 0, 1, 2, 2]
    assert list(found.identity) == [(3, 1), (4, 1), (3, 9), (4, 0), (4, 2)]
    assert torch.equal(found.updates.rows[0], second.rows[0])
    assert torch.equal(found.updates.rows[4], first.rows[2])
    assert found.updates.rows.shape == (5, K, D)
    for number in range(3):  # nothing is copied
        part = found.updates.of_slice(number)
        assert part.rows.untyped_storage().data_ptr() == found.updates.rows.untyped_storage().data_ptr()
    swapped = admit([reply(3, second), reply(4, first)], spec, 50)
    assert swapped.updates is not None
    assert torch.equal(swapped.updates.rows, found.updates.rows)


def test_a_number_of_no_slice_is_audited_with_its_reason() -> None:
    spec = UpdateSpec("run", 5, P, D, SLICES, 30, torch.zeros(0, dtype=torch.int64))
    more = torch.cat([SLICES, SLICES[:1] + 12])
    wrong = replace(updates([3, 0]), items=more)
    found = admit([reply(4, wrong), reply(3, replace(updates([1]), device=torch.tensor([7])))], spec, 50)
    assert list(found.identity) == [(3, 7)]
    refused = [e for e in found.audit if e.verdict == "refused"]
    assert [(e.node, e.reason) for e in refused] == [(4, Reason.RANGE.value)]
    assert "3 is none of the 3 slices" in refused[0].detail


def test_updates_of_slices_are_joined_and_taken_apart() -> None:
    sent = updates([0, 2, 0, 1, 2])
    parts = [(n, sent.of_slice(n)) for n in (2, 0, 1)]
    joined = of_slices(parts, SLICES)
    assert joined.slice is not None
    assert joined.slice.tolist() == [2, 2, 0, 0, 1]
    assert joined.device.tolist() == [1, 4, 0, 2, 3]
    back = joined.take(torch.tensor([2, 0, 3, 4, 1]))
    assert torch.equal(back.rows, sent.rows)
    assert back.slice is not None
    assert back.slice.tolist() == [0, 2, 0, 1, 2]
    assert [places.tolist() for places, _ in sent.by_slice()] == [[0, 2], [3], [1, 4]]


# The rule


def test_the_mean_is_over_all_for_the_encoder_and_over_its_slice_for_a_row() -> None:
    sent = updates([0, 0, 0, 2, 2])
    found, _ = BySlice(Mean(), lambda n: 0)(sent, {}, a_round(5))
    torch.testing.assert_close(found.encoder, sent.encoder.mean(0))
    assert found.items is not None
    assert found.items.tolist() == sorted([*SLICES[0].tolist(), *SLICES[2].tolist()])
    table = torch.zeros(31, D).index_copy(0, found.items.long(), found.rows)
    torch.testing.assert_close(table[SLICES[0].long()], sent.rows[:3].mean(0))
    torch.testing.assert_close(table[SLICES[2].long()], sent.rows[3:].mean(0))
    assert found.weights is not None
    assert found.weights.tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("name", sorted(n for n in AGGREGATORS if AGGREGATORS[n].sliced and n != "flame"))
def test_a_rule_sees_encoders_of_all_and_equal_rows_alone(name: str) -> None:
    """Each block is what the rule itself makes of it."""
    numbers = [0] * 12 + [1] * 11
    sent, rule = updates(numbers), AGGREGATORS[name]()
    start = torch.randn(P, generator=generator(1)), torch.randn(31, D, generator=generator(2))

    def around(n: int, first: int = 0) -> Round:
        who = Identity(identity(23).pairs[first : first + n])
        return Round(0, who, torch.Generator().manual_seed(5), 1, GlobalModel(*start))

    found, state = BySlice(rule, lambda n: 0)(sent, rule.init(), around(23))
    bare = replace(sent, rows=torch.zeros(23, 1, D), items=SLICES[0, :1], slice=None)
    if rule.rowwise:
        bare = replace(sent, items=SLICES[0], slice=None)
    whole, expected = rule(bare, rule.init(), around(23))
    assert torch.equal(found.encoder, whole.encoder)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in expected.items()}
    assert found.items is not None
    table = torch.zeros(31, D).index_copy(0, found.items.long(), found.rows)
    draw_free = name not in ("dnc", "signguard", "sieve")  # their draws go on from call to call
    for number, first, n in ((0, 0, 12), (1, 12, 11)):
        own, _ = rule(sent.of_slice(number), rule.init(), around(n, first))
        if draw_free:
            torch.testing.assert_close(table[SLICES[number].long()], own.rows)


def test_a_crowd_in_one_slice_has_no_say_in_another() -> None:
    """Four of fifteen are attackers, all in slice 1, where they outnumber the others."""
    sent = updates([0] * 9 + [1] * 6)
    poisoned = replace(sent, rows=sent.rows.clone(), encoder=sent.encoder.clone())
    poisoned.rows[11:] = 100.0
    poisoned.encoder[11:] = 100.0
    found, _ = BySlice(Median(), lambda n: 0)(poisoned, {}, a_round(15))
    assert float(found.encoder.abs().max()) < 3  # four of fifteen
    assert found.items is not None
    table = torch.zeros(31, D).index_copy(0, found.items.long(), found.rows)
    torch.testing.assert_close(table[SLICES[0].long()], sent.rows[:9].quantile(0.5, dim=0))
    assert float(table[SLICES[1].long()].min()) == 100  # four of six


def test_reputation_is_kept_once_a_round_and_of_all_devices() -> None:
    rule = BySlice(Sieve(), lambda n: 0)
    state: State = rule.init()
    for number in (1, 2):
        found, state = rule(updates([0] * 10 + [1] * 10 + [2] * 2, number), state, a_round(22, number))
    assert found.alike is not None
    assert found.alike.shape == (22, 22)  # those of one round, over all slices
    assert len(state["identity"]) == 22
    assert float(state["history"][:, 1].min()) == pytest.approx(1.9)  # Σ a^k over two rounds


class Picky(Mean):
    """Needs four devices."""

    def __call__(self, given: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        if len(given) < 4:
            raise RunError("needs at least 4")
        return super().__call__(given, state, round_)


def test_a_slice_with_too_few_devices_rests() -> None:
    sent = updates([0] * 5 + [1] * 2)
    found, _ = BySlice(Picky(), lambda n: 0)(sent, {}, a_round(7))
    assert found.items is not None
    assert found.items.tolist() == SLICES[0].tolist()
    assert found.figures["slices_trained"] == 1
    assert found.weights is not None
    assert float(found.weights.min()) > 0  # the two are heard on the encoder
    with pytest.raises(RunError, match="no slice has enough devices: needs at least 4"):
        BySlice(Picky(), lambda n: 0)(updates([0, 1, 0, 1]), {}, a_round(4))


# The step


def admitted(rules: Pipeline, numbers: list[int]) -> Admitted:
    sent = updates(numbers, width=rules.layout.total, dim=4)
    n = len(numbers)
    return Admitted(sent, identity(n), Audit(1, identity(n), torch.ones(n, dtype=torch.bool)))


def test_a_step_moves_and_counts_the_rows_of_the_slices_that_somebody_took() -> None:
    rules = Pipeline.build(
        config(
            *("train.slices=3", "train.slice_size=4", "strategy.warmup_rounds=0"),
            *("strategy.optimizer=sgd", "strategy.lr=0.5", "strategy.constraints=[exposure_cap]"),
        ),
        ITEMS,
    )
    begun, found = rules.init(), admitted(rules, [0, 0, 0, 2, 2])
    after = rules.step(begun, found, 1).state
    count = torch.zeros(ITEMS)
    count[SLICES[0].long() - 1], count[SLICES[2].long() - 1] = 3, 2
    assert after.trained.tolist() == count.tolist()
    assert after.constraints["0/trained"].tolist() == count.tolist()  # who ever trained a row
    moved = (after.model.table != begun.model.table).any(dim=1).nonzero().flatten()
    assert set(moved.tolist()) <= set(SLICES[[0, 2]].flatten().tolist())
    assert found.updates is not None
    torch.testing.assert_close(after.model.encoder, begun.model.encoder + 0.5 * found.updates.encoder.mean(0))


def test_marks_and_witnesses_name_the_items_of_the_device() -> None:
    sent = updates([1, 0, 2])
    marks = torch.full((2, K), TRAINED, dtype=torch.int8)
    marks[0, 3] = marks[1, 1] = PULLED
    places = torch.tensor([0, 2])
    items, whole = spread(TrustedUpdates(sent, places, identity(2), marks, None, None))
    assert whole.shape == (2, 12)
    assert [items[whole[k] == PULLED].tolist() for k in (0, 1)] == [[12], [4]]
    assert [sorted(items[whole[k] > 0].tolist()) for k in (0, 1)] == [SLICES[1].tolist(), SLICES[2].tolist()]
    seen = witnesses(sent, marks, 1, generator(0), places)
    assert seen.histories.flatten().tolist() == [12, 4]
    expected = torch.nn.functional.normalize(torch.stack([sent.rows[0, 3], sent.rows[2, 1]]), dim=1)
    torch.testing.assert_close(seen.states, expected)


# What is refused


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["train.negatives=device"], "expected 1 beside train.negatives: device"),
        (["train.negatives=full"], "expected 1 beside train.negatives: full"),
        (["strategy.aggregator=foolsgold"], "'foolsgold' cannot judge encoder and rows apart"),
        (["strategy.aggregator=hics", "strategy.pre=[clip]"], "'hics' cannot judge"),
        (["client.noise=1", "client.clip=1"], "train.slices = 4 beside client.noise = 1"),
        (["train.slices=31", "train.devices_per_round=40"], "train.slices = 31 of 30 items: at most 30"),
        (["train.slices=0"], "train.slices: expected a whole number from 1 to 256 (given: 0)"),
        (["train.slices=257"], "train.slices: expected a whole number from 1 to 256 (given: 257)"),
        (["strategy.aggregator=multi_krum"], "16 over train.slices = 4: it needs at least 5 devices a slice"),
    ],
)
def test_what_several_slices_cannot_be_beside_is_said_in_one_line(overrides: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(config("train.slices=4", *overrides), ITEMS)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_that_are_refused() -> None:
    refused = {name for name, rule in AGGREGATORS.items() if not rule.sliced}
    assert refused == {"centred_clipping", "foolsgold", "fltrust", "hics", "union"}


def test_the_sieve_bounds_an_encoder_by_its_own_rows() -> None:
    """Long histories move rows and encoder alike: nobody is beyond a bound, whatever the slices."""
    sent = updates([0] * 6 + [1] * 6, width=50)
    long = torch.where(torch.arange(12) % 4 == 0, 4.0, 1.0)
    encoder = long[:, None] * torch.nn.functional.normalize(sent.encoder, dim=1)
    rows = long[:, None, None] * sent.rows / sent.rows.flatten(1).norm(dim=1)[:, None, None]
    sent = replace(sent, encoder=encoder, rows=rows)
    rule = Sieve(rows=0, retention=0, reputation=0)
    found, _ = BySlice(rule, lambda n: 0)(sent, {}, a_round(12))
    torch.testing.assert_close(found.encoder, encoder.mean(0))
    loud = replace(sent, encoder=torch.cat([10 * encoder[:1], encoder[1:]]))  # and one beyond it is cut
    found, _ = BySlice(rule, lambda n: 0)(loud, {}, a_round(12))
    torch.testing.assert_close(found.encoder, torch.cat([2 * encoder[:1], encoder[1:]]).mean(0))
