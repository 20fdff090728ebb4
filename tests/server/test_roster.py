"""Who takes part: enrolment, rest, the draw of devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode

from common.answering import failure
from common.seeding import generator
from common.tasks import Enrolment
from common.wire import encode_enrolment
from server.local_grid import LocalGrid
from server.roster import RETRY_ROUNDS, Roster, quartiles

Fleets = dict[int, list[int]]


def enrolment(devices: list[int]) -> Enrolment:
    return Enrolment(torch.tensor(devices), torch.tensor([d % 50 for d in devices], dtype=torch.int32))


def grid(fleets: Fleets, broken: Callable[[int], bool] = lambda _: False) -> LocalGrid:
    """Node i + 1 stands for ``fleets[i]``; a broken node answers with an error."""

    def app(message: Message, context: Context) -> Message:
        if broken(context.node_id):
            return failure(message, "asleep", ErrorCode.UNKNOWN)
        return Message(encode_enrolment(enrolment(fleets[context.node_id])), reply_to=message)

    return LocalGrid(app, [{} for _ in fleets])


def enrolled(fleets: Fleets, quota: int = 100) -> Roster:
    roster = Roster(quota)
    roster.refresh(grid(fleets), 1)
    return roster


def test_devices_are_listed_by_their_number_whatever_the_node() -> None:
    assert enrolled({1: [2, 9], 2: [1, 5]}).devices() == [(1, 2), (2, 1), (5, 2), (9, 1)]


def test_the_draw_does_not_depend_on_which_node_holds_a_device() -> None:
    everyone = list(range(100, 160))
    one = enrolled({1: everyone}).sample(20, generator(4, "x"))
    three = enrolled({i + 1: everyone[i::3] for i in range(3)}).sample(20, generator(4, "x"))
    assert sorted(one[1].tolist()) == sorted(d for devices in three.values() for d in devices.tolist())
    assert len(one[1]) == 20
    for devices in three.values():
        assert devices.tolist() == sorted(devices.tolist())
        assert devices.dtype == torch.int64


def test_every_device_has_the_same_chance() -> None:
    roster = enrolled({1: list(range(30)), 2: [30]})
    gen = generator(0, "chance")
    count: Counter[int] = Counter()
    for _ in range(1500):
        count.update(d for devices in roster.sample(10, gen).values() for d in devices.tolist())
    shares = [count[d] / 1500 for d in range(31)]
    assert max(abs(s - 10 / 31) for s in shares) < 0.06


def test_more_than_there_are_is_everyone() -> None:
    assert sum(map(len, enrolled({1: [1, 2], 2: [3]}).sample(50, generator(0)).values())) == 3
    assert Roster(5).sample(3, generator(0)) == {}


def test_a_node_that_claims_too_many_is_cut_to_its_quota() -> None:
    roster = enrolled({1: list(range(50)), 2: [60]}, quota=3)
    assert roster.devices() == [(0, 1), (1, 1), (2, 1), (60, 2)]
    assert len(roster.nodes[1].history) == 3


def test_a_node_that_fails_to_enrol_is_asked_again_later() -> None:
    asleep = {2}
    net = grid({1: [1], 2: [2]}, lambda node: node in asleep)
    roster = Roster(10)
    roster.refresh(net, 1)
    assert set(roster.nodes) == {1}
    asleep.clear()
    for round_ in range(2, 1 + RETRY_ROUNDS):
        roster.refresh(net, round_)
        assert set(roster.nodes) == {1}
    roster.refresh(net, 1 + RETRY_ROUNDS)
    assert set(roster.nodes) == {1, 2}
    assert roster.resting == {}


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        encode_enrolment(Enrolment(torch.tensor([3, 3]), torch.tensor([1, 1], dtype=torch.int32))),
        encode_enrolment(Enrolment(torch.tensor([-1, 3]), torch.tensor([1, 1], dtype=torch.int32))),
        encode_enrolment(Enrolment(torch.tensor([1, 3]), torch.tensor([1], dtype=torch.int32))),
    ],
    ids=["empty", "twice", "negative", "lengths"],
)
def test_a_malformed_enrolment_keeps_the_node_out(content: RecordDict) -> None:
    def app(message: Message, context: Context) -> Message:
        mine = encode_enrolment(enrolment([1, 2])) if context.node_id == 1 else content
        return Message(mine, reply_to=message)

    roster = Roster(10)
    roster.refresh(LocalGrid(app, [{}, {}]), 1)
    assert set(roster.nodes) == {1}


def test_a_node_that_left_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    net = grid({1: [1], 2: [2]})
    roster = Roster(10)
    roster.refresh(net, 1)
    monkeypatch.setattr(net, "get_node_ids", lambda: [2])
    roster.refresh(net, 2)
    assert roster.devices() == [(2, 2)]


def test_rest_takes_a_node_out_for_some_rounds() -> None:
    net = grid({1: [1], 2: [2]})
    roster = Roster(10)
    roster.refresh(net, 1)
    roster.rest(2, 3)
    roster.refresh(net, 3 + RETRY_ROUNDS - 1)
    assert set(roster.nodes) == {1}
    roster.refresh(net, 3 + RETRY_ROUNDS)
    assert set(roster.nodes) == {1, 2}


def test_quartiles_split_the_devices_in_four() -> None:
    lengths = [5, 1, 2, 8, 7, 3, 6, 4]
    bounds = quartiles(lengths)
    assert bounds == (2, 4, 6)
    assert quartiles([]) == (0, 0, 0)
    assert quartiles([9]) == (9, 9, 9)
    assert enrolled({1: [1, 2, 3, 4], 2: [5, 6, 7, 8]}).quartiles() == (2, 4, 6)


def test_newcomers_are_devices_that_a_node_did_not_bring_at_first() -> None:
    fleets = {1: [1, 2], 2: [5]}
    roster = enrolled(fleets)
    assert roster.newcomers([(1, 1), (1, 2), (2, 5)]) == frozenset()
    roster.rest(1, 1)
    fleets[1] = [2, 3]
    roster.refresh(grid(fleets), 1 + RETRY_ROUNDS)
    assert roster.newcomers([(1, 2), (1, 3), (2, 5)]) == {(1, 3)}
