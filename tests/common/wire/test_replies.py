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
    (answer,), late = sort_replies([failure(task(11), "gone", code)], {11: ASKED[11]})
    assert (answer.error, answer.reason.value, late) == ("gone", "failed", [])


@pytest.mark.parametrize("sender", [1, NOBODY])
def test_what_a_grid_signs_is_a_missing_reply(sender: int) -> None:
    expired = failure(task(11), "expired", 4)
    expired.metadata.__dict__["_src_node_id"] = sender
    (answer,), late = sort_replies([expired], {11: ASKED[11]})
    assert (answer.error, late) == (LATE, [11])


def test_a_reply_too_large_to_be_read_has_its_own_reason() -> None:
    (answer,), _ = sort_replies([Message(Error(OVERSIZE, "large"), reply_to=task(11))], {11: ASKED[11]})
    assert answer.reason.value == "oversize"


def test_who_missed_the_deadline_and_who_only_the_early_end() -> None:
    late, silent = sort_replies(Replies(held={11: 2.5, 12: 2.5}), {n: ASKED[n] for n in (11, 12)})
    assert [(a.error, a.seconds_held) for a in late] == [(LATE, 2.5)] * 2
    assert silent == [11, 12]
    early, silent = sort_replies(Replies(early=[13]), {13: ASKED[13]})
    assert [(a.error, a.seconds_held) for a in early] == [(EARLY, None)]
    assert silent == []
