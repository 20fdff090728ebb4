"""Who takes part: enrolment, rest, the draw of devices."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode

from common.seeding import generator
from common.tasks import Enrolment
from common.wire import encode_enrolment
from emulation.local_grid import LocalGrid
from server.nodes.membership import Member
from server.nodes.roster import Roster
from server.nodes.shares import quartiles
from server.nodes.silence import FORGIVEN, REST_S, RETRY_ROUNDS
from tests.server.fleets import devices, enrolled, enrolment, grid
from transport.messages import failure


def test_devices_are_listed_by_their_number_whatever_the_node() -> None:
    assert devices(enrolled({1: [2, 9], 2: [1, 5]})) == [(1, 2), (2, 1), (5, 2), (9, 1)]
    assert devices(enrolled({1: [4], 2: [4]})) == [(4, 1)]


def test_the_draw_does_not_depend_on_which_node_holds_a_device() -> None:
    everyone = list(range(100, 160))
    one = enrolled({1: everyone}).pool.sample(20, generator(4, "x"), 1)
    three = enrolled({i + 1: everyone[i::3] for i in range(3)}).pool.sample(20, generator(4, "x"), 1)
    assert sorted(one[1].tolist()) == sorted(d for devices in three.values() for d in devices.tolist())
    assert len(one[1]) == 20
    for part in three.values():
        assert part.tolist() == sorted(part.tolist())
        assert part.dtype == torch.int64


def test_every_device_has_the_same_chance() -> None:
    roster = enrolled({1: list(range(30)), 2: [30]})
    gen = generator(0, "chance")
    count: Counter[int] = Counter()
    for _ in range(1500):
        count.update(d for devices in roster.pool.sample(10, gen, 1).values() for d in devices.tolist())
    shares = [count[d] / 1500 for d in range(31)]
    assert max(abs(s - 10 / 31) for s in shares) < 0.06


def test_more_than_there_are_is_everyone() -> None:
    assert sum(map(len, enrolled({1: [1, 2], 2: [3]}).pool.sample(50, generator(0), 1).values())) == 3
    assert Roster(5).pool.sample(3, generator(0), 1) == {}


def test_a_node_that_claims_too_many_is_cut_to_its_quota() -> None:
    roster = enrolled({1: list(range(50)), 2: [60]}, quota=3)
    assert devices(roster) == [(0, 1), (1, 1), (2, 1), (60, 2)]
    assert roster.pool.count == 4


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
    assert roster.silence.resting == {}
    assert roster.silence.misses == {2: 1}


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
    assert devices(roster) == [(2, 2)]


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
    bounds = quartiles(torch.tensor(lengths))
    assert bounds == (2, 4, 6)
    assert quartiles(torch.tensor([])) == (0, 0, 0)
    assert quartiles(torch.tensor([9])) == (9, 9, 9)
    assert enrolled({1: [1, 2, 3, 4], 2: [5, 6, 7, 8]}).quartiles() == (2, 4, 6)


def test_a_new_identity_gains_its_share_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving and coming back under another identity brings less than staying, however often it is done."""
    fleets = {1: list(range(10)), 2: list(range(100, 140)), 3: list(range(100, 140))}
    net, roster = grid(fleets), Roster(quota=100, growth=20)
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2])
    roster.refresh(net, 0)
    assert not roster.pool.newcomers([(1, 0), (2, 100)], 1).any()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 3])
    roster.refresh(net, 7)
    held = {round_: len(roster.pool.drawable(round_)[0]) - 10 for round_ in (7, 8, 17, 27, 500)}
    assert held == {7: 0, 8: 2, 17: 20, 27: 40, 500: 40}
    assert roster.pool.newcomers([(1, 0), (3, 100)], 26).tolist() == [False, True]
    assert not roster.pool.newcomers([(1, 0), (3, 100)], 27).any()
    assert (
        len(Roster(100, 0, roster.nodes, membership=roster.membership).pool.drawable(7)[0]) == 50
    )  # growth 0: at once


def test_after_an_outage_that_makes_all_identities_new_nobody_waits() -> None:
    roster = Roster(growth=20)
    roster.refresh(grid({1: [1], 2: [2]}), 30)
    assert devices(roster, 30) == [(1, 1), (2, 2)]
    assert not roster.pool.newcomers([(1, 1), (2, 2)], 31).any()


def test_the_own_error_code_of_a_node_gains_it_nothing() -> None:
    """A node that says of itself that it is not there rests, and comes back with the devices it had."""
    fleets, gone = {1: [1], 2: [2]}, set[int]()

    def app(message: Message, context: Context) -> Message:
        if context.node_id in gone:
            return failure(message, "gone", ErrorCode.MESSAGE_UNAVAILABLE)
        return Message(encode_enrolment(enrolment(fleets[context.node_id])), reply_to=message)

    net, roster = LocalGrid(app, [{}, {}]), Roster()
    roster.refresh(net, 1)
    roster.rest(2, 1)
    gone.add(2)
    roster.refresh(net, 6)
    assert set(roster.nodes) == {1}
    gone.clear()
    fleets[2] = [70, 71]
    roster.refresh(net, 5 + 1 + 2 * RETRY_ROUNDS)
    assert devices(roster) == [(1, 1)]
    assert [e.reason for e in roster.notices.take()] == ["missing", "unknown_device"]


def test_of_nodes_that_are_gone_a_bounded_number_of_devices_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.nodes.roster.MEMORY", 25)
    fleets = {node: list(range(100 * node, 100 * node + 10)) for node in range(1, 9)}
    net, roster = grid(fleets), Roster()
    for node in range(2, 9):  # node 1 stays, the others come and go
        monkeypatch.setattr(net, "get_node_ids", lambda node=node: [1, node])
        roster.refresh(net, node)
    assert list(roster.members) == [1, 6, 7, 8]


def test_of_strangers_that_are_gone_a_bounded_number_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.nodes.roster.STRANGERS", 2)
    net, roster = grid({node: [node] for node in range(1, 9)}, broken=lambda node: node > 1), Roster()
    for node in range(2, 9):  # each comes once, fails to enrol and leaves
        monkeypatch.setattr(net, "get_node_ids", lambda node=node: [1, node])
        roster.refresh(net, 1)
    left = {6, 7, 8}  # two that are gone, and one that is there
    assert set(roster.refusals) == set(roster.silence.resting) == set(roster.silence.misses) == left


def test_an_enrolment_names_no_more_devices_than_fit_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.nodes.roster.MAX_DEVICES", 3)
    roster = enrolled({1: [1, 2, 3], 2: [4, 5, 6, 7]})
    assert set(roster.nodes) == {1}
    (told,) = roster.notices.take()
    assert (told.node, told.reason) == (2, "oversize")


def test_what_the_roster_knows_survives_a_restart_of_the_server() -> None:
    roster = enrolled({1: [1, 2], 2: [5]})
    far = Roster()
    far.members[2**64 - 5] = Member(enrolment([7, 9]), 30)
    for one in (roster, far, Roster()):
        again = Roster()
        again.membership.restore(one.membership.tensors())
        assert again.members.keys() == one.members.keys()
        for node, member in one.members.items():
            assert again.members[node].joined == member.joined
            assert torch.equal(again.members[node].enrolment.devices, member.enrolment.devices)
            assert torch.equal(again.members[node].enrolment.history, member.enrolment.history)
    again = Roster()
    again.membership.restore(roster.membership.tensors())
    again.refresh(grid({1: [1, 2, 3], 2: [5]}), 9)
    assert devices(again, 9) == [(1, 1), (2, 1), (5, 2)]


# What follows from all devices is made when the nodes change.


def test_the_pool_is_kept_until_the_nodes_change(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = {1: list(range(10)), 2: list(range(10, 20)), 3: list(range(20, 60))}
    net, roster = grid(fleets), Roster(quota=100, growth=4)
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2])
    roster.refresh(net, 0)
    first = roster.pool.drawable(1)
    assert roster.pool.drawable(2) is roster.pool.drawable(9) is first
    roster.pool.sample(5, generator(1), 9)
    roster.refresh(net, 10)
    assert roster.pool.drawable(10) is first
    assert not roster.pool.newcomers([(1, 3), (2, 11)], 10).any()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3])  # one that comes late grows for four rounds
    roster.refresh(net, 10)
    assert [len(roster.pool.drawable(round_)[0]) for round_ in range(10, 16)] == [20, 30, 40, 50, 60, 60]
    assert roster.pool.drawable(15) is roster.pool.drawable(14)
    assert roster.pool.newcomers([(1, 3), (3, 30)], 12).tolist() == [False, True]
    roster.rest(2, 16)
    assert len(roster.pool.drawable(16)[0]) == roster.pool.count == 50
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 3])
    before = roster.pool.drawable(16)
    roster.refresh(net, 17)
    assert roster.pool.drawable(17) is before
    monkeypatch.setattr(net, "get_node_ids", lambda: [3])
    roster.refresh(net, 18)
    assert devices(roster, 18) == [(d, 3) for d in range(20, 60)]
    assert roster.pool.count == 40


def test_a_million_devices_enrol_in_one_message_without_a_call_each() -> None:
    many = 1_000_000
    claim = Enrolment(torch.arange(many), (torch.arange(many) % 90).int())
    net, roster, count = (
        LocalGrid(lambda m, c: Message(encode_enrolment(claim), reply_to=m), [{}]),
        Roster(),
        0,
    )

    def seen(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        roster.refresh(net, 0)
        roster.pool.sample(256, generator(1), 1)
        bounds = roster.quartiles()
    finally:
        sys.setprofile(None)
    assert roster.pool.count == many
    assert bounds == (22, 44, 67)
    assert count < 20_000


# Silence is paid by the silent.


def pauses(roster: Roster, count: int) -> list[int]:
    found = []
    for _ in range(count):
        roster.rest(1, 0)
        found.append(roster.silence.resting[1][0])
    return found


def test_rest_doubles_with_every_miss_and_ends_within_the_hour() -> None:
    now = [1000.0]
    roster = Roster(clock=lambda: now[0])
    assert pauses(roster, 5) == [RETRY_ROUNDS * 2**k for k in range(5)]
    roster.refresh(net := grid({1: [1]}), 1)
    assert roster.nodes == {}
    now[0] += REST_S
    roster.refresh(net, 2)
    assert set(roster.nodes) == {1}


def test_old_misses_are_forgiven() -> None:
    roster = Roster()
    assert pauses(roster, 3)[-1] == 4 * RETRY_ROUNDS
    for _ in range(2 * FORGIVEN):
        roster.silence.answered([1])
    assert pauses(roster, 1) == [2 * RETRY_ROUNDS]
    for _ in range(20 * FORGIVEN):
        roster.silence.answered([1])
    assert pauses(roster, 1) == [RETRY_ROUNDS]


def test_huge_claims_that_leave_push_out_no_absent_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.nodes.roster.MEMORY", 100)
    fleets = {1: [1], 2: [2, 3], **{node: list(range(1000 * node, 1000 * node + 200)) for node in (3, 4, 5)}}
    net, roster = grid(fleets), Roster(quota=50)
    for present in ([1, 2], [1, 3], [1, 4], [1, 5]):
        monkeypatch.setattr(net, "get_node_ids", lambda present=present: present)
        roster.refresh(net, 1)
    assert 2 in roster.members
