"""One broken node among honest ones: the round goes on, and the audit accounts for everybody."""

from __future__ import annotations

from typing import get_args

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.wire import Reason, encode_updates
from server.round.admission import Admitted, Reply, admit
from tests.common.wire import samples
from tests.common.wire.mutations import Damage, damage, damages
from tests.common.wire.samples import ROUND, RUN, Negatives

ASKED = torch.arange(10, 14)
NEGATIVES: tuple[Negatives, ...] = get_args(Negatives)
REASONS = {"", *(reason.value for reason in Reason)}


def reply(node: int, negatives: Negatives, changes: list[Damage]) -> Reply:
    record = encode_updates(samples.updates(negatives, seed=node), RUN, ROUND)
    return Reply(node, ASKED, damage(record, changes))


def check(result: Admitted) -> None:
    admitted = [(e.node, e.device) for e in result.audit if e.verdict in ("admitted", "clipped")]
    assert sorted(admitted) == sorted(result.identity)
    assert {e.reason for e in result.audit} <= REASONS
    assert [d for _, d in result.identity] == sorted(d for _, d in result.identity)
    updates = result.updates
    assert updates is not None
    assert updates.device.tolist() == [d for _, d in result.identity]
    assert bool(updates.rows.isfinite().all() and updates.encoder.isfinite().all())
    assert 1 <= int(updates.history.min()) <= int(updates.history.max()) <= 50


@given(
    changes=st.lists(damages(), min_size=1, max_size=3),
    negatives=st.sampled_from(NEGATIVES),
    place=st.integers(0, 2),
)
@settings(max_examples=200)
def test_a_broken_reply_costs_only_its_node(changes: list[Damage], negatives: Negatives, place: int) -> None:
    replies = [reply(1, negatives, []), reply(3, negatives, [])]
    replies.insert(place, reply(2, negatives, changes))
    result = admit(replies, samples.spec(negatives), max_history=50)
    check(result)
    assert {(node, d) for node in (1, 3) for d in ASKED.tolist()} <= set(result.identity)
    of_two = {e.device for e in result.audit if e.node == 2}
    assert None in of_two or of_two == set(ASKED.tolist())  # refused, or every device accounted for


@given(order=st.permutations(range(6)))
@settings(max_examples=40)
def test_any_order_of_arrival_gives_the_same_round(order: list[int]) -> None:
    replies = [reply(node, "device", []) for node in (1, 2, 3)]
    replies += [replies[0], reply(4, "slice", []), Reply(5, ASKED, None, "late")]
    expect = samples.spec("device")
    first = admit(replies, expect, 50)
    other = admit([replies[i] for i in order], expect, 50)
    check(other)
    assert (first.identity, first.audit) == (other.identity, other.audit)
    assert first.updates is not None
    assert other.updates is not None
    assert torch.equal(first.updates.rows, other.updates.rows)
