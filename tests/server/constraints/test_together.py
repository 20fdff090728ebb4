"""How alike those who hold an item act."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from server.aggregators.base import State
from server.constraints import panel as panel_room
from server.constraints.exposure import NOISE
from server.constraints.panel import PRIOR, PULLED, TRAINED, RoundMarks, holder_shares, no_holders, with_round
from server.constraints.together import FADES, FEW, Together, holders_alike, no_pairs
from tests.server.constraints.test_panel import N, seen


def start() -> State:
    panel = no_holders(N)
    return {**panel, **no_pairs(panel)}


def counted(state: State, marks: RoundMarks) -> State:
    """The panel after a round, with its pairs."""
    state = {**state, **with_round(state, marks)}
    together = Together.of(state, marks)
    return state if together is None else {**state, **together.counted(state)}


def after(*rounds: RoundMarks) -> State:
    state = start()
    for one in rounds:
        state = counted(state, one)
    return state


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


def acting(rounds: int, alike: float, before: State | None = None, holders: int = 13) -> State:
    """The panel after rounds in which so many devices hold item 1 and send encoders that are alike."""
    state = before or start()
    for k in range(rounds):
        marks = [[PULLED if u < holders else TRAINED] for u in range(2 * holders)]
        state = counted(state, compared(seen(k + 1, list(range(2 * holders)), [1], marks), alike, seed=k))
    return state


def test_nothing_is_known_before_pairs_answer() -> None:
    assert holders_alike(start()).tolist() == [0.0] * N
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
    later = counted(earlier, compared(seen(2, [0, 1], [1], [[PULLED], [PULLED]]), 0.2))
    assert holder_shares(later)[0] == 2 / (2 + PRIOR)
    assert later["pairs"].tolist() == [2.0] + [0.0] * (N - 1)


def test_what_holders_do_in_rounds_without_the_item_counts_too() -> None:
    """Poison sent where the slice lacks the target is poison of those who hold it."""
    first = after(seen(1, [0, 1, 2], [1, 2], [[PULLED, TRAINED], [PULLED, TRAINED], [TRAINED, PULLED]]))
    elsewhere = compared(seen(2, [0, 1, 2], [3], [[TRAINED]] * 3), 0.2)
    state = counted(first, elsewhere)
    assert elsewhere.alike is not None
    assert state["alike"].tolist() == pytest.approx([2 * float(elsewhere.alike[0, 1]), *[0.0] * (N - 1)])
    assert state["pairs"].tolist() == [2.0] + [0.0] * (N - 1)


def test_a_round_without_a_pair_of_holders_forgets_nothing() -> None:
    state = acting(3, 0.1)
    later = counted(state, compared(seen(9, [99], [1, 2], [[TRAINED, PULLED]]), 0.0))
    assert torch.equal(later["alike"], state["alike"])
    assert torch.equal(later["pairs"], state["pairs"])


def test_devices_without_room_in_the_panel_hold_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_room, "MEMORY", N)  # one device
    round_ = compared(
        seen(1, [0, 1, 2], [4, 5], [[PULLED, TRAINED], [PULLED, PULLED], [TRAINED, PULLED]]), 0.1
    )
    state = after(round_)
    assert round_.alike is not None
    assert state["alike"].tolist() == pytest.approx(
        [0, 0, 0, 2 * float(round_.alike[0, 1]), 2 * float(round_.alike[1, 2]), 0]
    )


def test_between_is_the_mean_over_pairs_of_different_devices() -> None:
    marks = [[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    round_ = compared(
        seen(1, [0, 1, 2, 3], [1, 2, 3, 4], [[PULLED if m else TRAINED for m in row] for row in marks]), 0.1
    )
    together, c = Together.of(with_round(start(), round_), round_), round_.alike
    assert together is not None
    assert c is not None
    first = c[0, 2] + c[1, 0] + c[1, 2]  # 0 and 1 hold item 1, 0 and 2 item 2; 0 and 0 is no pair
    second = c[0, 2] + c[0, 3] + c[1, 2] + c[1, 3]
    expected = [float(first) / (3 + FEW), float(second) / (4 + FEW), 0.0, 0.0]  # item 4 has one holder
    found = together.between(torch.tensor([0, 3]), torch.tensor([[1, 2, 3, 5], [0, 1, 2, 4]])).tolist()
    assert found[0] == pytest.approx(expected)
    assert found[1] == [0.0] * 4
    assert Together.of(start(), seen(1, [0], [1], [[PULLED]])) is None


def test_between_in_a_round_without_two_holders_is_nothing() -> None:
    round_ = compared(seen(1, [0, 1], [1, 2], [[PULLED, TRAINED], [TRAINED, PULLED]]), 0.3)
    together = Together.of(with_round(start(), round_), round_)
    assert together is not None
    assert together.between(torch.tensor([0]), torch.tensor([[1, 2]])).tolist() == [[0.0, 0.0]]
