"""Who takes part: enrolment, rest, the draw of devices."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode
from hypothesis import given
from hypothesis import strategies as st

from common.errors import RunError, WireError
from common.seeding import generator
from common.tasks import Enrolment
from common.wire import decode_catalogue, decode_enrolment, encode_catalogue, encode_enrolment
from emulation.local_grid import LocalGrid
from server.nodes.roster import (
    FORGIVEN,
    REFUSED_S,
    REST_S,
    RETRY_ROUNDS,
    Member,
    Roster,
    claimed_before,
    within,
)
from server.nodes.shares import allowance, quartiles
from server.nodes.waiting import wait_for_nodes
from transport.messages import failure

Fleets = dict[int, list[int]]


def enrolment(devices: list[int]) -> Enrolment:
    numbers = torch.tensor(devices, dtype=torch.int64)
    return Enrolment(numbers, torch.tensor([d % 50 for d in devices], dtype=torch.int32))


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


def devices(roster: Roster, round_: int = 1) -> list[tuple[int, int]]:
    """(device number, node) of all that may be drawn, in the order of the draw."""
    numbers, place, nodes = roster.pool(round_)
    return [(int(d), nodes[int(k)]) for d, k in zip(numbers, place, strict=True)]


def test_devices_are_listed_by_their_number_whatever_the_node() -> None:
    assert devices(enrolled({1: [2, 9], 2: [1, 5]})) == [(1, 2), (2, 1), (5, 2), (9, 1)]
    assert devices(enrolled({1: [4], 2: [4]})) == [(4, 1)]


def test_the_draw_does_not_depend_on_which_node_holds_a_device() -> None:
    everyone = list(range(100, 160))
    one = enrolled({1: everyone}).sample(20, generator(4, "x"), 1)
    three = enrolled({i + 1: everyone[i::3] for i in range(3)}).sample(20, generator(4, "x"), 1)
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
        count.update(d for devices in roster.sample(10, gen, 1).values() for d in devices.tolist())
    shares = [count[d] / 1500 for d in range(31)]
    assert max(abs(s - 10 / 31) for s in shares) < 0.06


def test_more_than_there_are_is_everyone() -> None:
    assert sum(map(len, enrolled({1: [1, 2], 2: [3]}).sample(50, generator(0), 1).values())) == 3
    assert Roster(5).sample(3, generator(0), 1) == {}


def test_a_node_that_claims_too_many_is_cut_to_its_quota() -> None:
    roster = enrolled({1: list(range(50)), 2: [60]}, quota=3)
    assert devices(roster) == [(0, 1), (1, 1), (2, 1), (60, 2)]
    assert roster.count == 4


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
    assert roster.misses == {2: 1}


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


# A share of the devices is a share of the draws.


def test_a_node_keeps_the_devices_that_it_came_with() -> None:
    fleets = {1: [1, 2, 3], 2: [50]}
    roster = enrolled(fleets)
    roster.rest(1, 1)
    fleets[1] = [2, 3, 4, 5, 51]
    roster.refresh(grid(fleets), 1 + RETRY_ROUNDS)
    assert devices(roster) == [(2, 1), (3, 1), (50, 2)]  # what it no longer has is not asked for
    (told,) = roster.news()
    assert (told.round, told.node, told.verdict) == (1 + RETRY_ROUNDS, 1, "refused")
    assert (told.reason, told.detail) == ("unknown_device", "claims 3 devices that it did not come with")
    assert roster.news() == []


def test_devices_of_a_node_that_is_here_cannot_be_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = {1: [1, 2, 3], 2: [2, 3, 9]}
    net, roster = grid(fleets), Roster()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1])
    roster.refresh(net, 0)
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2])
    roster.refresh(net, 0)
    assert devices(roster) == [(1, 1), (2, 1), (3, 1), (9, 2)]
    assert [(e.node, e.reason, e.detail) for e in roster.news()] == [
        (2, "duplicate", "claims 2 devices of other nodes, such as 2 of node 1")
    ]
    monkeypatch.setattr(net, "get_node_ids", lambda: [2])  # gone, under another identity it may come back
    roster.refresh(net, 1)
    fleets[3] = [1, 2, 3]
    later = grid(fleets)
    monkeypatch.setattr(later, "get_node_ids", lambda: [2, 3])
    roster.refresh(later, 2)
    assert devices(roster, 10**6) == [(1, 3), (2, 3), (3, 3), (9, 2)]


def test_a_node_that_claims_every_number_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond its allowance is not its own; what is within stays so while the others rest."""
    fleets = {1: [1, 2], 2: [3, 4], 3: list(range(10, 1000)), 4: [11, 500, 501]}
    net, roster = grid(fleets), Roster()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3])
    roster.refresh(net, 0)
    for node in (1, 2, 3):
        roster.rest(node, 1)
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3, 4])
    roster.refresh(net, 1)
    assert roster.nodes[4].devices.tolist() == [500, 501]
    assert [(e.node, e.detail) for e in roster.news() if e.reason == "duplicate"] == [
        (4, "claims 1 devices of other nodes, such as 11 of node 3")
    ]


def test_a_new_identity_gains_its_share_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving and coming back under another identity brings less than staying, however often it is done."""
    fleets = {1: list(range(10)), 2: list(range(100, 140)), 3: list(range(100, 140))}
    net, roster = grid(fleets), Roster(quota=100, growth=20)
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2])
    roster.refresh(net, 0)
    assert not roster.newcomers([(1, 0), (2, 100)], 1).any()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 3])
    roster.refresh(net, 7)
    held = {round_: len(roster.pool(round_)[0]) - 10 for round_ in (7, 8, 17, 27, 500)}
    assert held == {7: 0, 8: 2, 17: 20, 27: 40, 500: 40}
    assert roster.newcomers([(1, 0), (3, 100)], 26).tolist() == [False, True]
    assert not roster.newcomers([(1, 0), (3, 100)], 27).any()
    assert len(Roster(100, 0, roster.nodes, members=roster.members).pool(7)[0]) == 50  # growth 0: at once


def test_after_an_outage_that_makes_all_identities_new_nobody_waits() -> None:
    roster = Roster(growth=20)
    roster.refresh(grid({1: [1], 2: [2]}), 30)
    assert devices(roster, 30) == [(1, 1), (2, 2)]
    assert not roster.newcomers([(1, 1), (2, 2)], 31).any()


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
    assert [e.reason for e in roster.news()] == ["unknown_device"]


@pytest.mark.parametrize(
    ("counts", "most"),
    [
        ([], 1),
        ([7], 7),
        ([5, 10**6], 10**6),  # nobody can tell which of two claims too much
        ([67, 67, 10**6], 100),
        ([50, 60, 70, 80], 90),
        ([1] * 100, 10),
        ([1] * 100 + [50], 11),
        ([1] * 100 + [50, 10**6], 12),
        ([100] * 40, 400),
        ([0, 0, 0], 1),
    ],
)
def test_what_one_node_may_stand_for(counts: list[int], most: int) -> None:
    assert allowance(counts) == most


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=60), st.integers(0, 10**9))
def test_no_claim_makes_a_node_half_of_all_or_raises_the_limit_without_end(
    counts: list[int], claim: int
) -> None:
    most = allowance([*counts, claim])
    held = sum(min(n, most) for n in [*counts, claim])
    assert min(claim, most) <= max(0.43 * held, 1)
    assert most == allowance([*counts, max(claim, 10 * max(counts) + 10)]) or claim < 10 * max(counts) + 10


def test_who_is_cut_is_told_once_and_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = {1: list(range(10)), 2: list(range(10, 20)), 3: list(range(100, 200)), 4: list(range(20, 40))}
    net, roster = grid(fleets), Roster()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3])
    roster.refresh(net, 0)
    assert [(e.node, e.detail) for e in roster.news()] == [
        (3, "claims 100 devices, cut to 15 (strategy.quota)")
    ]
    roster.refresh(net, 1)
    assert roster.news() == []
    assert len(roster.pool(1)[0]) == roster.count == 35
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3, 4])
    roster.refresh(net, 1)
    assert {e.node for e in roster.news()} == {4}  # the median has not moved


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


def test_an_enrolment_names_no_more_devices_than_fit_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.nodes.roster.MAX_DEVICES", 3)
    roster = enrolled({1: [1, 2, 3], 2: [4, 5, 6, 7]})
    assert set(roster.nodes) == {1}
    (told,) = roster.news()
    assert (told.node, told.reason) == (2, "oversize")


def test_what_the_roster_knows_survives_a_restart_of_the_server() -> None:
    roster = enrolled({1: [1, 2], 2: [5]})
    far = Roster()
    far.members[2**64 - 5] = Member(enrolment([7, 9]), 30)
    for one in (roster, far, Roster()):
        again = Roster()
        again.restore(one.tensors())
        assert again.members.keys() == one.members.keys()
        for node, member in one.members.items():
            assert again.members[node].joined == member.joined
            assert torch.equal(again.members[node].enrolment.devices, member.enrolment.devices)
            assert torch.equal(again.members[node].enrolment.history, member.enrolment.history)
    again = Roster()
    again.restore(roster.tensors())
    again.refresh(grid({1: [1, 2, 3], 2: [5]}), 9)
    assert devices(again, 9) == [(1, 1), (2, 1), (5, 2)]


# What follows from all devices is made when the nodes change.


def test_the_pool_is_kept_until_the_nodes_change(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = {1: list(range(10)), 2: list(range(10, 20)), 3: list(range(20, 60))}
    net, roster = grid(fleets), Roster(quota=100, growth=4)
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2])
    roster.refresh(net, 0)
    first = roster.pool(1)
    assert roster.pool(2) is roster.pool(9) is first
    roster.sample(5, generator(1), 9)
    roster.refresh(net, 10)
    assert roster.pool(10) is first
    assert not roster.newcomers([(1, 3), (2, 11)], 10).any()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3])  # one that comes late grows for four rounds
    roster.refresh(net, 10)
    assert [len(roster.pool(round_)[0]) for round_ in range(10, 16)] == [20, 30, 40, 50, 60, 60]
    assert roster.pool(15) is roster.pool(14)
    assert roster.newcomers([(1, 3), (3, 30)], 12).tolist() == [False, True]
    roster.rest(2, 16)
    assert len(roster.pool(16)[0]) == roster.count == 50
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 3])
    before = roster.pool(16)
    roster.refresh(net, 17)
    assert roster.pool(17) is before
    monkeypatch.setattr(net, "get_node_ids", lambda: [3])
    roster.refresh(net, 18)
    assert devices(roster, 18) == [(d, 3) for d in range(20, 60)]
    assert roster.count == 40


@given(st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_within_is_isin(values: list[int], known: list[int]) -> None:
    one, other = torch.tensor(values, dtype=torch.int64), torch.tensor(sorted(known), dtype=torch.int64)
    assert torch.equal(within(one, other), torch.isin(one, other))


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
        roster.sample(256, generator(1), 1)
        bounds = roster.quartiles()
    finally:
        sys.setprofile(None)
    assert roster.count == many
    assert bounds == (22, 44, 67)
    assert count < 20_000


# Silence is paid by the silent.


def pauses(roster: Roster, count: int) -> list[int]:
    found = []
    for _ in range(count):
        roster.rest(1, 0)
        found.append(roster.resting[1][0])
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
        roster.answered([1])
    assert pauses(roster, 1) == [2 * RETRY_ROUNDS]
    for _ in range(20 * FORGIVEN):
        roster.answered([1])
    assert pauses(roster, 1) == [RETRY_ROUNDS]


# One catalogue over many nodes, and one node a device.


def known(fingerprints: dict[int, str], own: str) -> tuple[LocalGrid, Roster, list[str]]:
    """Nodes with these catalogues, the roster of a server with ``own``, and what it asked them with."""
    asked: list[str] = []

    def app(message: Message, context: Context) -> Message:
        asked.append(decode_catalogue(message.content))
        claim = replace(enrolment([context.node_id]), catalogue=fingerprints[context.node_id])
        return Message(encode_enrolment(claim), reply_to=message)

    return LocalGrid(app, [{} for _ in fingerprints]), Roster(catalogue=own), asked


@pytest.mark.parametrize(
    ("fingerprints", "own", "taken"),
    [
        ({1: "aa", 2: "aa"}, "aa", {1, 2}),
        ({1: "aa", 2: "bb"}, "aa", {1}),
        ({1: "bb", 2: "bb"}, "aa", set()),
        ({1: "", 2: "aa"}, "aa", {1, 2}),  # a log without ids of items
        ({1: "aa", 2: "bb"}, "", {1, 2}),  # a server that knows no catalogue
        ({1: "a", 2: "aa"}, "aa", {2}),  # no prefix of it
    ],
)
def test_a_node_with_another_catalogue_is_refused_by_name(
    fingerprints: dict[int, str], own: str, taken: set[int]
) -> None:
    net, roster, asked = known(fingerprints, own)
    roster.refresh(net, 1)
    assert set(roster.nodes) == taken
    assert set(asked) == {own}
    news = roster.news()
    assert {e.node for e in news} == set(fingerprints) - taken
    for entry in news:
        assert entry.reason == "foreign"
        assert f"the node's catalogue is {fingerprints[entry.node]}, here it is {own}" in entry.detail


def test_who_is_refused_is_told_once_and_asked_again_when_it_may_be_mended() -> None:
    now = [0.0]
    fingerprints = {1: "aa", 2: "bb"}
    net, roster, asked = known(fingerprints, "aa")
    roster.clock = lambda: now[0]
    for _ in range(5):
        roster.resting.clear()
        roster.refresh(net, 0)
    assert len(asked) == 2
    now[0] = 2 * REFUSED_S
    roster.resting.clear()
    roster.refresh(net, 0)
    assert len(asked) == 3
    assert len(roster.news()) == 1
    assert roster.refusals().startswith("; node 2 did not enrol: catalogue: foreign: ")
    fingerprints[2], now[0] = "aa", 4 * REFUSED_S
    roster.resting.clear()
    roster.refresh(net, 0)
    assert set(roster.nodes) == {1, 2}
    assert roster.refusals() == ""


def test_a_run_that_waits_in_vain_says_who_was_refused() -> None:
    net, roster, _ = known({1: "aa", 2: "bb"}, "aa")
    with pytest.raises(
        RunError, match="1 of 2 nodes after 0 s; .*; node 2 did not enrol: catalogue: foreign"
    ):
        wait_for_nodes(net, roster, 0, 2, 0.0)


@pytest.mark.parametrize("given", ["xyz", "a" * 65, "A", "a b", "é"])
def test_a_fingerprint_is_hexadecimal(given: str) -> None:
    claim = encode_enrolment(replace(enrolment([1]), catalogue=given))
    with pytest.raises(WireError, match="meta.catalogue"):
        decode_enrolment(claim, 3)
    with pytest.raises(WireError, match="meta.catalogue"):
        decode_catalogue(encode_catalogue(given))


@pytest.mark.parametrize(
    ("fleets", "left"),
    [
        ({1: [4], 2: [4]}, {1: [4], 2: []}),
        ({1: [1, 2, 3], 2: [3]}, {1: [1, 2], 2: [3]}),  # the smaller claim first
        ({1: [1, 2], 2: [2, 3], 3: [1, 3]}, {1: [1, 2], 2: [3], 3: []}),
        ({1: list(range(90)), 2: [5, 6], 3: [7]}, {1: [*range(5), *range(8, 90)], 2: [5, 6], 3: [7]}),
        ({1: [1, 2], 2: [1, 2], 3: [1, 2]}, {1: [1, 2], 2: [], 3: []}),
        ({1: [], 2: [1]}, {1: [], 2: [1]}),
    ],
)
def test_a_device_that_two_nodes_bring_at_once_belongs_to_one(
    fleets: dict[int, list[int]], left: dict[int, list[int]]
) -> None:
    roster = enrolled(fleets, quota=100)
    assert {node: e.devices.tolist() for node, e in roster.nodes.items()} == left
    losers = {node for node in fleets if left[node] != fleets[node]}
    news = roster.news()
    assert {e.node for e in news} == losers
    for entry in news:
        assert entry.reason == "duplicate"
        other = int(entry.detail.rsplit(" ", 1)[1])
        assert other != entry.node
        assert int(entry.detail.split("such as ")[1].split(" ")[0]) in left[other]


@given(
    st.lists(st.lists(st.integers(0, 12), unique=True, max_size=8).map(sorted), max_size=5),
    st.lists(st.integers(0, 12), unique=True, max_size=4).map(sorted),
    st.integers(1, 9),
)
def test_claims_before_agree_with_a_loop(claims: list[list[int]], owned: list[int], most: int) -> None:
    taken, expected = set(owned), []
    for claim in claims:
        expected.append([number in taken for number in claim])
        taken |= set(claim[:most])
    given = [torch.tensor(claim, dtype=torch.int64) for claim in claims]
    found = claimed_before(given, torch.tensor(owned, dtype=torch.int64), most)
    assert [one.tolist() for one in found] == expected
