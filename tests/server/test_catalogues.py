"""One catalogue over many nodes, and one node a device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flwr.app import Context, Message

from common.errors import RunError, WireError
from common.wire import decode_enrolment, decode_question, encode_enrolment, encode_question
from common.wire.enrolment import Question
from emulation.local_grid import LocalGrid
from server.nodes.refusals import REFUSED_S
from server.nodes.roster import Roster
from server.nodes.waiting import wait_for_nodes
from tests.server.fleets import enrolment


def known(fingerprints: dict[int, str], own: str) -> tuple[LocalGrid, Roster, list[str]]:
    """Nodes with these catalogues, the roster of a server with ``own``, and what it asked them with."""
    asked: list[str] = []

    def app(message: Message, context: Context) -> Message:
        asked.append(decode_question(message.content).catalogue)
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
    news = roster.notices.take()
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
        roster.silence.resting.clear()
        roster.refresh(net, 0)
    assert len(asked) == 2
    now[0] = 2 * REFUSED_S
    roster.silence.resting.clear()
    roster.refresh(net, 0)
    assert len(asked) == 3
    assert len(roster.notices.take()) == 1
    assert roster.refusals.ending().startswith("; node 2 did not enrol: catalogue: foreign: ")
    fingerprints[2], now[0] = "aa", 4 * REFUSED_S
    roster.silence.resting.clear()
    roster.refresh(net, 0)
    assert set(roster.nodes) == {1, 2}
    assert roster.refusals.ending() == ""


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
        decode_question(encode_question(Question(given)))
