"""Whose a device is, and how many one node may stand for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from server.nodes.claims import holders, within
from server.nodes.roster import Roster
from server.nodes.shares import allowance
from server.nodes.silence import RETRY_ROUNDS
from tests.server.fleets import devices, enrolled, grid

# A share of the devices is a share of the draws.


def test_a_node_keeps_the_devices_that_it_came_with() -> None:
    fleets = {1: [1, 2, 3], 2: [50]}
    roster = enrolled(fleets)
    roster.rest(1, 1)
    fleets[1] = [2, 3, 4, 5, 51]
    roster.refresh(grid(fleets), 1 + RETRY_ROUNDS)
    assert devices(roster) == [(2, 1), (3, 1), (50, 2)]  # what it no longer has is not asked for
    told = roster.notices.take()
    assert {(one.round, one.node, one.verdict) for one in told} == {(1 + RETRY_ROUNDS, 1, "refused")}
    assert [(one.reason, one.detail) for one in told] == [
        ("missing", "has lost 1 of the 3 devices that it came with, such as 1"),
        ("unknown_device", "claims 3 devices that it did not come with"),
    ]
    assert roster.notices.take() == []


def test_devices_of_a_node_that_is_here_cannot_be_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = {1: [1, 2, 3], 2: [2, 3, 9]}
    net, roster = grid(fleets), Roster()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1])
    roster.refresh(net, 0)
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2])
    roster.refresh(net, 0)
    assert devices(roster) == [(1, 1), (2, 1), (3, 1), (9, 2)]
    assert [(e.node, e.reason, e.detail) for e in roster.notices.take()] == [
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
    assert [(e.node, e.detail) for e in roster.notices.take() if e.reason == "duplicate"] == [
        (4, "claims 1 devices of other nodes, such as 11 of node 3")
    ]


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
    assume(sum(map(bool, counts)) >= 3)  # of nodes without devices nobody is cut
    most = allowance([*counts, claim])
    held = sum(min(n, most) for n in [*counts, claim])
    assert min(claim, most) <= max(0.43 * held, 1)
    assert most == allowance([*counts, max(claim, 10 * max(counts) + 10)]) or claim < 10 * max(counts) + 10


def test_who_is_cut_is_told_once_and_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = {1: list(range(10)), 2: list(range(10, 20)), 3: list(range(100, 200)), 4: list(range(20, 40))}
    net, roster = grid(fleets), Roster()
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3])
    roster.refresh(net, 0)
    assert [(e.node, e.detail) for e in roster.notices.take()] == [
        (3, "claims 100 devices, cut to 15 (strategy.quota)")
    ]
    roster.refresh(net, 1)
    assert roster.notices.take() == []
    assert len(roster.pool.drawable(1)[0]) == roster.pool.count == 35
    monkeypatch.setattr(net, "get_node_ids", lambda: [1, 2, 3, 4])
    roster.refresh(net, 1)
    assert {e.node for e in roster.notices.take()} == {4}  # the median has not moved


@given(st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_within_is_isin(values: list[int], known: list[int]) -> None:
    one, other = torch.tensor(values, dtype=torch.int64), torch.tensor(sorted(known), dtype=torch.int64)
    assert torch.equal(within(one, other), torch.isin(one, other))


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
    news = roster.notices.take()
    assert {e.node for e in news} == losers
    for entry in news:
        assert entry.reason == "duplicate"
        other = int(entry.detail.rsplit(" ", 1)[1])
        assert other != entry.node
        assert int(entry.detail.split("such as ")[1].split(" ")[0]) in left[other]


@given(
    st.lists(st.lists(st.integers(0, 12), unique=True, max_size=8).map(sorted), max_size=5),
    st.lists(st.lists(st.integers(0, 12), unique=True, max_size=4).map(sorted), max_size=3),
    st.integers(1, 9),
)
def test_holders_agree_with_a_loop(claims: list[list[int]], held: list[list[int]], most: int) -> None:
    owner: dict[int, int] = {}
    expected = []
    for place, part in enumerate([*held, *claims]):
        if place >= len(held):
            expected.append([owner.get(number, -1) for number in part])
            part = part[:most]
        owner = dict.fromkeys(part, place) | owner
    one, other = ([torch.tensor(part, dtype=torch.int64) for part in parts] for parts in (held, claims))
    assert [part.tolist() for part in holders(one, other, most)] == expected
