"""Sequences in one array are the sequences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.ragged import Ragged

PARTS = st.lists(st.lists(st.integers(1, 99), max_size=6), max_size=8)


def ragged(parts: list[list[int]]) -> Ragged[np.int32]:
    return Ragged.of((np.array(part, np.int32) for part in parts), np.int32)


def lists(found: Ragged[np.int32]) -> list[list[int]]:
    return [part.tolist() for part in found]


@given(PARTS, st.integers(0, 7))
def test_every_view_is_what_lists_would_be(parts: list[list[int]], most: int) -> None:
    made = ragged(parts)
    assert lists(made) == parts
    assert lists(made.first(most)) == [part[:most] for part in parts]
    assert lists(made.last(most)) == [part[len(part) - min(most, len(part)) :] for part in parts]
    assert made.last(most).flat().tolist() == [x for part in parts for x in part[max(0, len(part) - most) :]]
    assert made.owners().tolist() == [k for k, part in enumerate(parts) for _ in part]
    assert lists(made[1:3]) == parts[1:3]
    rows = list(range(len(parts)))[::-2]
    assert lists(made.take(rows)) == [parts[k] for k in rows]
    assert lists(made.take(np.array([len(part) > 2 for part in parts], bool))) == [
        p for p in parts if len(p) > 2
    ]
    width = most + 1
    assert made.padded(width).tolist() == [[0] * (width - len(p[-width:])) + p[-width:] for p in parts]


def test_a_cut_shares_the_values() -> None:
    made = ragged([[1, 2, 3], [4]])
    for part in (made.first(1), made.last(np.array([2, 1])), made.take([1]), made[:1]):
        assert part.values is made.values
    assert Ragged.of(made, np.int32) is made
    assert lists(made.first(np.array([2, 0]))) == [[1, 2], []]


def test_an_index_beyond_the_end_is_an_error() -> None:
    with pytest.raises(IndexError):
        ragged([[1]])[1]


@given(PARTS, st.integers(1, 9), st.booleans())
def test_chunks_are_runs_of_whole_sequences(parts: list[list[int]], size: int, apart: bool) -> None:
    made = ragged(parts)
    if apart:  # views that do not lie side by side
        made, parts = made.last(2), [part[-2:] for part in parts]
    chunks = list(made.chunks(size))
    assert [one for chunk in chunks for one in lists(chunk)] == parts
    assert [x for chunk in chunks for x in chunk.flat().tolist()] == [x for part in parts for x in part]
    longest = max(map(len, parts), default=0)
    assert all(len(chunk) > 0 and int(chunk.lengths.sum()) < size + longest for chunk in chunks)


def test_what_lies_side_by_side_is_not_copied() -> None:
    made = ragged([[1, 2], [], [3]])
    assert np.shares_memory(made.flat(), made.values)
    assert made[1:].flat().tolist() == [3]
