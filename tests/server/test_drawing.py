"""What a round asks for: one draw for a seed and a round, with the settings of the slice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import comb

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import RunError
from common.seeding import generator
from common.tasks import Enrolment
from common.wire import encode_train_task
from server.nodes.membership import Member
from server.nodes.roster import Roster
from server.round.drawing import Drawing, draw_places, draw_round
from server.round.pipeline import Pipeline
from tests.server.aggregators.allocations import Allocations
from tests.server.federation import ITEMS, config


def draw(*overrides: str, round_: int = 1, nodes: int = 2) -> Drawing:
    settings = config(*overrides)
    state = Pipeline.build(settings, ITEMS).init()
    roster = Roster(10**6)
    for node in range(nodes):
        devices = torch.arange(node, 40, nodes)
        held = Enrolment(devices, torch.full((len(devices),), 5, dtype=torch.int32))
        roster.nodes[node + 7], roster.members[node + 7] = held, Member(held, 0)
    return draw_round(settings, "r", round_, state.model, state, roster.pool)


def asked(drawing: Drawing) -> list[int]:
    return sorted(int(d) for devices in drawing.asked.values() for d in devices)


def test_a_round_tells_nodes_nothing_that_the_next_draw_follows_from() -> None:
    """Nonce, slice and devices come from the server's key, each by itself, and not from the seed."""
    one, again, fresh = draw(), draw(), draw("strategy.secret=''")
    assert one.task.nonce == again.task.nonce != draw(round_=2).task.nonce
    assert len({one.task.nonce, fresh.task.nonce, draw("strategy.secret=''").task.nonce}) == 3
    assert asked(fresh) != asked(one)
    assert not torch.equal(fresh.task.items, one.task.items)
    sent = encode_train_task(one.task)["meta"]
    assert not {"seed", "secret"} & set(sent)
    assert asked(draw("train.slice_size=10")) == asked(one)  # however much is drawn for the slice


def test_the_draw_depends_on_seed_and_round_and_not_on_who_holds_the_devices() -> None:
    one, same, spread = draw(), draw(), draw(nodes=4)
    assert torch.equal(one.task.items, same.task.items)
    assert asked(one) == asked(same) == asked(spread)
    other, later = draw("seed=1"), draw(round_=2)
    assert asked(one) != asked(other)
    assert not torch.equal(one.task.items, later.task.items)


def test_the_correction_of_the_logits_can_be_switched_off() -> None:
    assert bool((draw().task.log_q < 0).all())
    plain = draw("train.slice_correction=false")
    assert bool((plain.task.log_q == 0).all())
    assert torch.equal(plain.task.items, draw().task.items)


def test_negatives_full_asks_for_the_whole_catalogue() -> None:
    assert draw("train.negatives=full").task.items.tolist() == list(range(1, ITEMS + 1))


def test_each_node_is_asked_for_its_devices_at_once() -> None:
    drawing = draw()
    requests = drawing.requests()
    assert [node for node, _ in requests] == list(drawing.asked)
    for node, devices in requests:
        assert torch.equal(devices, drawing.asked[node])


def test_over_sampling_asks_more_devices() -> None:
    few, many = (
        draw("train.devices_per_round=10"),
        draw("train.devices_per_round=10", "strategy.oversample=1.5"),
    )
    assert (len(asked(few)), len(asked(many))) == (10, 15)


def test_the_spec_of_a_reply_is_the_task() -> None:
    drawing = draw()
    spec = drawing.spec()
    assert (spec.run, spec.round, spec.num_items) == ("r", 1, ITEMS)
    assert torch.equal(spec.items, drawing.task.items)
    assert spec.num_parameters == drawing.task.model.encoder.shape[0]


def test_a_reply_may_hold_what_the_devices_asked_of_its_node_need() -> None:
    drawing = replace(draw(), asked={1: torch.arange(1), 2: torch.arange(1000)})
    spec = drawing.spec()
    full = 4 * (spec.num_parameters + len(spec.items) * spec.dim)  # float32 values of one device
    found = drawing.limits()
    assert len(drawing.requests()) == 2
    assert full < found[1] < full * 3 + (1 << 20)
    assert 1000 * full < found[2] < 3000 * full + (1 << 20)


@given(st.integers(0, 40), st.integers(0, 60), st.integers(0, 99))
def test_places_are_different_ascending_and_as_many_as_there_are(count: int, total: int, seed: int) -> None:
    found = draw_places(count, total, generator(seed))
    assert found.dtype == torch.int64
    assert len(found) == min(count, total)
    assert found.tolist() == sorted(set(found.tolist()) & set(range(total)))
    assert torch.equal(found, draw_places(count, total, generator(seed)))


@pytest.mark.parametrize(("count", "total"), [(2, 5), (3, 7), (3, 5)])  # by rejection, and by a permutation
def test_every_set_is_as_likely(count: int, total: int) -> None:
    gen, turns = generator(0, "sets"), 4000
    found = Counter(tuple(draw_places(count, total, gen).tolist()) for _ in range(turns))
    sets = comb(total, count)
    assert len(found) == sets
    chi = sum((n - turns / sets) ** 2 / (turns / sets) for n in found.values())
    assert chi < sets - 1 + 5 * (2 * (sets - 1)) ** 0.5  # five deviations of χ² with sets - 1 degrees


def test_a_draw_of_many_costs_no_more_than_one_of_few() -> None:
    with Allocations() as counted:
        found = draw_places(256, 10**15, generator(4))
    assert len(found.unique()) == 256
    assert counted.peak < 100_000


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_an_automatic_slice_keeps_as_many_busy_as_wanted(share: float) -> None:
    """Histories of 5: four next items each, one of which is in the slice with chance 1 − (1 − K/N)^4."""
    automatic = ("train.slice_size=auto", f"train.busy_share={share}")
    size = len(draw(*automatic).task.items)
    assert 1 - (1 - size / ITEMS) ** 4 >= share > 1 - (1 - (size - 1) / ITEMS) ** 4
    assert len(draw(*automatic, "train.negatives=full").task.items) == ITEMS


@pytest.mark.parametrize(
    "settings",
    [(), ("wire.dtype=float16",), ("train.negatives=device", "train.device_negatives=2")],
)
def test_a_node_with_more_to_send_than_a_reply_may_hold_is_asked_in_parts(settings: tuple[str, ...]) -> None:
    """Each reply is within the bound, none could take a device more, and every device is asked once."""
    drawing = replace(draw("wire.reply_mb=0.1", *settings), asked={7: torch.arange(500), 9: torch.arange(3)})
    parts = drawing.requests()
    spec, width = drawing.spec(), 2 if "wire.dtype=float16" in settings else 4

    def size(devices: int) -> int:
        own = min(ITEMS, devices * spec.max_touched)
        rows = own if "train.negatives=device" in settings else len(spec.items)
        return width * devices * (spec.num_parameters + rows * spec.dim)

    largest = drawing.together()
    assert size(largest) <= 0.1 * (1 << 20) < size(largest + 1)
    assert max(len(devices) for _, devices in parts) <= largest
    assert len(parts) == -(-500 // largest) + 1
    for node, devices in drawing.asked.items():
        assert torch.equal(torch.cat([part for of, part in parts if of == node]), devices)


def test_one_device_that_sends_more_than_the_bound_is_asked_alone() -> None:
    drawing = draw("wire.reply_mb=0.001", nodes=1)
    assert {len(devices) for _, devices in drawing.requests()} == {1}


def test_an_update_that_no_reply_can_hold_is_refused_before_anything_is_sent() -> None:
    drawing = draw("train.devices_per_round=30", nodes=1)
    drawing.check_size()
    items = torch.arange(1, 2 * 10**8, dtype=torch.int32)
    large = replace(drawing, task=replace(drawing.task, items=items))
    message = (
        r"the update of one device is \d+\.\d GB \(199999999 rows\); a reply may hold 2\.1 GB: a smaller "
    )
    with pytest.raises(RunError, match=message):
        large.check_size()
