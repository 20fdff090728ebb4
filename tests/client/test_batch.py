"""Windows, batches and buckets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client.batch import buckets, make_batch, window_starts
from common.data.types import Items
from common.keystream import Draws


def counted(length: int) -> Items:
    return np.arange(1, length + 1, dtype=np.int32)


def drawn(n: int, key: int = 0) -> Draws:
    return Draws.of(key, 1, "window", torch.arange(n))


@pytest.mark.parametrize("length", [0, 1, 2, 10, 11])
def test_a_history_of_at_most_one_more_than_the_window_is_whole(length: int) -> None:
    lengths = np.array([length], dtype=np.int64)
    assert window_starts(lengths, 10, None).tolist() == [0]
    assert window_starts(lengths, 10, drawn(1)).tolist() == [0]


def test_a_longer_history_gives_its_last_items() -> None:
    assert window_starts(np.array([12, 40]), 10, None).tolist() == [1, 29]


def test_a_random_window_is_any_stretch_and_every_one_comes_up() -> None:
    starts = window_starts(np.full(4000, 14), 10, drawn(4000))
    assert np.bincount(starts) / 4000 == pytest.approx([0.25] * 4, abs=0.03)


def test_a_random_window_follows_its_key_and_not_its_company() -> None:
    lengths = np.arange(60, 69)
    together = window_starts(lengths, 10, drawn(9, 3))
    assert together.tolist() == window_starts(lengths, 10, drawn(9, 3)).tolist()
    assert together.tolist() != window_starts(lengths, 10, drawn(9, 4)).tolist()
    alone = window_starts(lengths[5:6], 10, Draws.of(3, 1, "window", torch.tensor([5])))
    assert alone.tolist() == [together[5]]


def test_a_batch_pairs_each_item_with_the_next_on_the_right() -> None:
    batch = make_batch([counted(4), counted(0), counted(1), counted(2), counted(5)], 4)
    assert batch.inputs.tolist() == [[0, 1, 2, 3], [0] * 4, [0] * 4, [0, 0, 0, 1], [1, 2, 3, 4]]
    assert batch.targets.tolist() == [[0, 2, 3, 4], [0] * 4, [0] * 4, [0, 0, 0, 2], [2, 3, 4, 5]]
    assert batch.padding.tolist()[0] == [True, False, False, False]
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert len(batch) == 5


def test_a_batch_does_not_share_memory_with_the_histories() -> None:
    history = counted(3)
    batch = make_batch([history], 2)
    batch.inputs[0] = 9
    assert history.tolist() == [1, 2, 3]


def grouped(lengths: list[int], max_len: int) -> list[tuple[int, list[int]]]:
    return [(size, members.tolist()) for size, members in buckets(lengths, max_len)]


def test_buckets_are_powers_of_two_up_to_the_longest() -> None:
    lengths = [-1, 0, 1, 8, 9, 16, 17, 33, 50, 3]
    assert grouped(lengths, 50) == [
        (8, [0, 1, 2, 3, 9]),
        (16, [4, 5]),
        (32, [6]),
        (50, [7, 8]),
    ]
    assert grouped([3, 5], 4) == [(4, [0, 1])]  # a model shorter than the first bucket
    assert grouped([8, 2], 8) == [(8, [0, 1])]
    assert grouped([], 50) == []


@given(
    lengths=st.lists(st.integers(-1, 300), max_size=30),
    max_len=st.integers(1, 200),
)
def test_every_device_is_in_one_bucket_that_is_long_enough(lengths: list[int], max_len: int) -> None:
    found = grouped(lengths, max_len)
    assert sorted(i for _, members in found for i in members) == list(range(len(lengths)))
    for size, members in found:
        assert members == sorted(members)
        for i in members:
            needed = min(max(lengths[i], 1), max_len)
            assert needed <= size <= max(8, min(2 * needed, max_len))
            assert size <= max_len


@given(lengths=st.lists(st.integers(0, 14), min_size=1, max_size=6), spare=st.integers(0, 3))
def test_a_batch_holds_every_pair_once(lengths: list[int], spare: int) -> None:
    size = max([*(n - 1 for n in lengths), 1]) + spare
    batch = make_batch([counted(n) for n in lengths], size)
    for row, n in enumerate(lengths):
        real = ~batch.padding[row]
        assert batch.inputs[row][real].tolist() == list(range(1, n))
        assert batch.targets[row][real].tolist() == list(range(2, n + 1))
        assert not bool(batch.targets[row][~real].any())
        assert real.tolist() == sorted(real.tolist())  # padding first
