"""From replies to what admission judges: whose word counts, and why a reply is missing."""

from __future__ import annotations

import pytest
import torch
from flwr.app import Error, Message, RecordDict

from common.wire.replies import EARLY, LATE, OVERSIZE, Replies, sort_replies
from transport.messages import NOBODY, failure

ASKED = {node: torch.tensor([node]) for node in (11, 12, 13)}


def task(node: int) -> Message:
    return Message(RecordDict(), node, "train")


@pytest.mark.parametrize("code", [2, 3, 4, 5])
def test_no_code_of_a_node_counts_as_the_word_of_the_grid(code: int) -> None:
    (answer,), late = sort_replies([failure(task(11), "gone", code)], [(11, ASKED[11])])
    assert (answer.error, answer.reason.value, late) == ("gone", "failed", [])


@pytest.mark.parametrize("sender", [1, NOBODY])
def test_what_a_grid_signs_is_a_missing_reply(sender: int) -> None:
    expired = failure(task(11), "expired", 4)
    expired.metadata.__dict__["_src_node_id"] = sender
    (answer,), late = sort_replies([expired], [(11, ASKED[11])])
    assert (answer.error, late) == (LATE, [11])


def test_a_reply_too_large_to_be_read_has_its_own_reason() -> None:
    (answer,), _ = sort_replies([Message(Error(OVERSIZE, "large"), reply_to=task(11))], [(11, ASKED[11])])
    assert answer.reason.value == "oversize"


def test_who_missed_the_deadline_and_who_only_the_early_end() -> None:
    late, silent = sort_replies(Replies(held={11: 2.5, 12: 2.5}), [(n, ASKED[n]) for n in (11, 12)])
    assert [(a.error, a.seconds_held) for a in late] == [(LATE, 2.5)] * 2
    assert silent == [11, 12]
    early, silent = sort_replies(Replies(early=[13]), [(13, ASKED[13])])
    assert [(a.error, a.seconds_held) for a in early] == [(EARLY, None)]
    assert silent == []


def test_a_node_that_is_asked_in_parts_has_a_reply_for_each() -> None:
    """A part that is missing is late, and so is its node, whatever else the node sent."""
    parts = [(12, torch.tensor([5])), (11, torch.tensor([1, 2])), (11, torch.tensor([3]))]
    third = Message(RecordDict(), reply_to=task(11))
    answers, late = sort_replies(Replies([third], held={12: 1.0, 11: 1.0}, requests=[2]), parts)
    told = [(a.node, a.asked.tolist(), a.error, a.seconds_held) for a in answers]
    assert told == [(11, [3], "", None), (11, [1, 2], LATE, 1.0), (12, [5], LATE, 1.0)]
    assert late == [11, 12]
    both = [Message(RecordDict(), reply_to=task(11)) for _ in range(2)]
    answers, late = sort_replies(both, parts[1:])  # no word of which is which: each is the node's next one
    assert [a.asked.tolist() for a in answers] == [[1, 2], [3]]
    assert late == []


def test_a_reply_to_what_another_node_was_asked_is_dropped() -> None:
    stray = Message(RecordDict(), reply_to=task(12))
    (answer,), late = sort_replies(Replies([stray], requests=[0]), [(11, ASKED[11])])
    assert (answer.node, answer.error, late) == (11, LATE, [11])
