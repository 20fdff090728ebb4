"""What is kept of devices, against a dictionary."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from server.aggregators.base import State
from server.aggregators.memory import Identity, entered, places, recalled, remembered, signed

NODES = (0, 1, 5, 2**63 - 1, 2**63, 2**64 - 1)
PAIRS = st.lists(st.tuples(st.sampled_from(NODES), st.integers(0, 6)), unique=True, max_size=12)


@given(PAIRS, PAIRS)
@settings(max_examples=60)
def test_who_is_known_is_found_at_its_place(
    known: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    rows = sorted(signed(known).tolist())
    at, met = places(torch.tensor(rows, dtype=torch.int64).reshape(-1, 2), signed(asked))
    assert met.tolist() == [pair in known for pair in asked]
    wanted = signed(asked).tolist()
    assert at.tolist() == [sum(row < pair for row in rows) for pair in wanted]


@given(st.lists(PAIRS, min_size=1, max_size=6), st.integers(1, 8))
@settings(max_examples=60)
def test_the_latest_are_kept_as_a_dictionary_would(
    rounds: list[list[tuple[int, int]]], capacity: int
) -> None:
    """It is checked after each round: who is there, with what, and who was forgotten."""
    state: State = {}
    oracle: dict[tuple[int, int], tuple[int, float]] = {}  # pair -> the round it was met in, its value
    for number, pairs in enumerate(rounds, start=1):
        values = torch.rand(len(pairs), 2)
        before = {name: tensor.clone() for name, tensor in state.items()}
        expected = [oracle[pair][1] if pair in oracle else 0.0 for pair in pairs]
        assert recalled(state, signed(pairs), 2)[:, 0].tolist() == expected
        after = remembered(state, signed(pairs), values, number, capacity)
        assert all(torch.equal(before[name], state[name]) for name in before)
        oracle |= {pair: (number, float(v)) for pair, v in zip(pairs, values[:, 0], strict=True)}
        row = {pair: signed([pair]).tolist()[0] for pair in oracle}
        oldest = sorted(oracle, key=lambda pair: (oracle[pair][0], row[pair]))
        for pair in oldest[: max(0, len(oracle) - capacity)]:
            del oracle[pair]
        state = after
        kept = sorted(oracle, key=lambda pair: row[pair])
        assert list(Identity(state["identity"])) == kept
        assert state["seen"].tolist() == [oracle[pair][0] for pair in kept]
        assert state["history"][:, 0].tolist() == [oracle[pair][1] for pair in kept]


def test_a_round_of_known_devices_copies_the_rows_and_no_more() -> None:
    state = remembered({}, signed([(1, k) for k in range(9)]), torch.ones(9, 1), 1, 9)
    room = entered(state, signed([(1, 3), (1, 0)]), 2, 9)
    assert room.source is None
    assert room.identity is state["identity"]
    assert room.at.tolist() == [3, 0]
    assert room.seen.tolist() == [2, 1, 1, 2, 1, 1, 1, 1, 1]


def test_an_identity_is_a_sequence_of_pairs() -> None:
    pairs = [(2**64 - 1, 4), (3, 2**62), (2**63, 0)]
    who = Identity(signed(pairs))
    assert who == tuple(pairs)
    assert (who[0], who[-1], list(who[1:]), len(who)) == (pairs[0], pairs[-1], pairs[1:], 3)
    assert who.index((3, 2**62)) == 1
    assert who.take(torch.tensor([2, 0])) == (pairs[2], pairs[0])
    assert signed(who) is who.pairs
    assert who != tuple(pairs[:2])
    with pytest.raises(IndexError):
        who[3]
    assert list(Identity(torch.zeros(0, 2, dtype=torch.int64))) == []
