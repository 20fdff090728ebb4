"""Who holds what, by device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from server.aggregators.base import State
from server.constraints import panel as panel_room
from server.constraints.exposure import NOISE
from server.constraints.panel import (
    FADES,
    PRIOR,
    PULLED,
    TRAINED,
    RoundMarks,
    holder_shares,
    holders_alike,
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


def compared(round_: RoundMarks, alike: float, seed: int = 0) -> RoundMarks:
    """The round with cosines of ``alike`` and some noise between all of its devices."""
    n = len(round_.identity)
    noise = 0.016 * torch.randn(n, n, generator=torch.Generator().manual_seed(seed))
    cosines = alike + (noise + noise.T) / 2**0.5
    return replace(round_, alike=cosines.fill_diagonal_(0.0))


def test_the_cosines_of_holders_add_up_and_fade() -> None:
    first = compared(
        seen(1, [0, 1, 2], [1, 2], [[PULLED, PULLED], [PULLED, TRAINED], [TRAINED, PULLED]]), 0.3
    )
    second = compared(seen(2, [1, 2], [1, 3], [[TRAINED, PULLED], [PULLED, TRAINED]]), 0.1, seed=1)
    state = after(first, second)
    a, b = first.alike, second.alike
    assert a is not None
    assert b is not None
    one = FADES * 2 * float(a[0, 1]) + 2 * float(b[0, 1])  # both held item 1 by then, the first by its past
    assert state["alike"].tolist() == pytest.approx([one, 2 * float(a[0, 2]), 0, 0, 0, 0], rel=1e-5)
    assert state["pairs"].tolist() == pytest.approx([FADES * 2 + 2, 2, 0, 0, 0, 0])


def test_newcomers_and_rounds_without_cosines_are_not_compared() -> None:
    round_ = seen(1, [0, 1, 2], [1], [[PULLED]] * 3)
    assert after(round_)["pairs"].tolist() == [0.0] * N
    two = after(replace(compared(round_, 0.5), newcomers=torch.tensor([False, False, True])))
    assert two["pairs"].tolist() == [2.0] + [0.0] * (N - 1)


def acting(rounds: int, alike: float, start: State | None = None, holders: int = 13) -> State:
    """The panel after rounds in which so many devices hold item 1 and send encoders that are alike."""
    state = start or no_holders(N)
    for k in range(rounds):
        marks = [[PULLED if u < holders else TRAINED] for u in range(2 * holders)]
        state = with_round(state, compared(seen(k + 1, list(range(2 * holders)), [1], marks), alike, seed=k))
    return state


def test_nothing_is_known_before_pairs_answer() -> None:
    assert holders_alike(no_holders(N)).tolist() == [0.0] * N
    assert holders_alike(after(seen(1, [0], [1], [[PULLED]]))).tolist() == [0.0] * N


def test_poison_that_one_device_may_carry_shows_in_all_pairs() -> None:
    """A fifth of a round of 64, as alike as a single device may be unnoticed (a tolerance of .06)."""
    assert float(holders_alike(acting(30, 0.06))[0]) > 4 * NOISE


def test_a_household_is_no_conspiracy() -> None:
    """Four users of one household, as alike as can be in one round, are too few pairs to say anything."""
    state = after(compared(seen(1, list(range(4)), [1], [[PULLED]] * 4), 0.4))
    assert float(holders_alike(state)[0]) < NOISE


def test_who_was_honest_for_long_is_noticed_soon() -> None:
    """After two hundred honest rounds: nothing at first, and enough within ten rounds."""
    honest = acting(200, 0.0)
    assert float(holders_alike(honest)[0]) < NOISE / 4
    assert float(holders_alike(acting(10, 0.06, honest))[0]) > 2 * NOISE


def test_a_panel_of_an_earlier_version_goes_on_without_pairs() -> None:
    first = after(seen(1, [0, 1], [1], [[PULLED], [PULLED]]))
    earlier = {name: value for name, value in first.items() if name not in ("alike", "pairs")}
    later = with_round(earlier, compared(seen(2, [0, 1], [1], [[PULLED], [PULLED]]), 0.2))
    assert holder_shares(later)[0] == 2 / (2 + PRIOR)
    assert later["pairs"].tolist() == [2.0] + [0.0] * (N - 1)
