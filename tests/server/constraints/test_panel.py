"""Who holds what, by device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from server.aggregators.base import State
from server.constraints import panel as panel_room
from server.constraints.panel import (
    PRIOR,
    PULLED,
    TRAINED,
    RoundMarks,
    holder_shares,
    no_holders,
    with_round,
)

N = 6


def seen(
    round_: int, devices: list[int], items: list[int], marks: list[list[int]], node: int = 1
) -> RoundMarks:
    return RoundMarks(
        round_,
        [(node, device) for device in devices],
        torch.tensor(items, dtype=torch.int32),
        torch.tensor(marks, dtype=torch.int8),
    )


def after(*rounds: RoundMarks) -> State:
    state = no_holders(N)
    for one in rounds:
        state = with_round(state, one)
    return state


def test_a_device_counts_once_however_often_it_pulls() -> None:
    once = after(seen(1, [0, 1], [2, 4], [[PULLED, TRAINED], [TRAINED, TRAINED]]))
    again = after(*(seen(r, [0, 1], [2, 4], [[PULLED, TRAINED], [TRAINED, TRAINED]]) for r in range(1, 9)))
    expected = torch.tensor([0, 1 / (2 + PRIOR), 0, 0, 0, 0], dtype=torch.float64)
    assert torch.equal(holder_shares(once), expected)
    assert torch.equal(holder_shares(again), expected)


def test_a_pull_is_remembered_through_rounds_without_one() -> None:
    state = after(
        seen(1, [7], [1, 2], [[PULLED, TRAINED]]),
        seen(2, [7], [1, 3], [[TRAINED, PULLED]]),
        seen(3, [8], [1], [[TRAINED]]),
    )
    assert holder_shares(state).tolist() == [1 / (2 + PRIOR), 0, 1 / (1 + PRIOR), 0, 0, 0]


def test_rows_that_a_device_never_trained_do_not_count() -> None:
    state = after(seen(1, [0, 1], [5], [[PULLED], [0]]))
    assert holder_shares(state)[4] == 1 / (1 + PRIOR)


def test_of_many_devices_each_counts() -> None:
    devices = list(range(600))
    state = after(seen(1, devices, [1, 3], [[PULLED, PULLED if u < 300 else TRAINED] for u in devices]))
    assert holder_shares(state).tolist() == [600 / (600 + PRIOR), 0, 300 / (600 + PRIOR), 0, 0, 0]


def test_the_same_number_on_another_node_is_another_device() -> None:
    state = after(seen(1, [0], [1], [[PULLED]]), seen(2, [0], [1], [[PULLED]], node=2**64 - 1))
    assert holder_shares(state)[0] == 2 / (2 + PRIOR)


def test_a_number_that_a_node_enrols_later_is_no_holder() -> None:
    """A node that leaves and comes back under new numbers holds no more than before."""
    first = seen(1, [0, 1], [1, 2], [[PULLED, TRAINED], [TRAINED, TRAINED]])
    later = seen(2, [0, 7], [1, 2], [[PULLED, TRAINED], [PULLED, PULLED]])
    counted = after(first, later)
    assert holder_shares(counted)[0] == 2 / (3 + PRIOR), "the test would pass without a newcomer"
    left_out = after(first, replace(later, newcomers=torch.tensor([False, True])))
    assert torch.equal(holder_shares(left_out), holder_shares(after(first)))
    assert left_out["identity"].tolist() == [[1, 0], [1, 1]]


def test_a_round_of_newcomers_only_counts_nothing() -> None:
    round_ = replace(seen(2, [7], [1], [[PULLED]]), newcomers=torch.tensor([True]))
    assert holder_shares(after(round_)).tolist() == [0.0] * N
    before = seen(1, [0], [1], [[PULLED]])
    assert torch.equal(holder_shares(after(before, round_)), holder_shares(after(before)))


def test_nothing_given_is_changed() -> None:
    first = after(seen(1, [0], [1], [[TRAINED]]))
    kept = {name: value.clone() for name, value in first.items()}
    with_round(first, seen(2, [0], [1], [[PULLED]]))
    assert all(torch.equal(first[name], kept[name]) for name in kept)


def test_the_marks_take_a_byte_each_within_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_room, "MEMORY", 3 * N)
    state = after(*(seen(r, [r], [1], [[PULLED if r == 1 else TRAINED]]) for r in range(1, 6)))
    assert state["history"].dtype == torch.int8
    assert state["identity"].tolist() == [[1, 3], [1, 4], [1, 5]]
    assert holder_shares(state)[0] == 1 / (5 + PRIOR)  # device 1, seen longest ago, stays in the count


def test_who_was_forgotten_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_room, "MEMORY", N)
    rounds = [seen(1, [1], [1], [[PULLED]]), seen(2, [2], [1], [[TRAINED]]), seen(3, [1], [1], [[PULLED]])]
    assert holder_shares(after(*rounds))[0] == 2 / (3 + PRIOR)
