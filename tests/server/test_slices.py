"""The draw of a round's items."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.seeding import generator
from server.round.drawing import draw_slice, draw_weights, inclusion


def popularity(n: int = 40) -> torch.Tensor:
    return 400.0 / torch.arange(1, n + 1, dtype=torch.float64)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=60), st.data())
def test_inclusion_probabilities_sum_to_the_size(claims: list[float], data: st.DataObject) -> None:
    weights = draw_weights(torch.tensor(claims))
    size = data.draw(st.integers(1, len(claims)))
    q = inclusion(weights, size)
    assert float(q.sum()) == pytest.approx(size, rel=1e-6)
    assert bool(((q > 0) & (q <= 1)).all())


def test_inclusion_probabilities_match_how_often_items_are_drawn() -> None:
    pulls, size, draws = popularity(), 12, 1500
    count = torch.zeros(len(pulls))
    gen = generator(3, "test")
    for _ in range(draws):
        items, _ = draw_slice(pulls, size, gen)
        count[items.long() - 1] += 1
    expected = inclusion(draw_weights(pulls), size)
    # the race is over among n items, so its probabilities are the formula's up to O(1/n)
    assert (count / draws - expected).abs().max() < 0.04
    assert expected[0] > 3 * expected[-1]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_power_says_how_much_popularity_counts(power: float) -> None:
    weights = draw_weights(torch.tensor([0.0, 95.0]), power)
    assert float(weights[1] / weights[0]) == pytest.approx(20.0**power)


def test_popular_items_are_drawn_more_often_with_a_larger_power() -> None:
    def share(power: float) -> float:
        gen = generator(4, "power")
        slices = [draw_slice(popularity(), 12, gen, power)[0] for _ in range(200)]
        return sum(int((items <= 10).sum()) for items in slices) / (12 * 200)

    assert share(0.0) == pytest.approx(10 / 40, abs=0.05)
    assert share(0.0) + 0.1 < share(0.5) < share(1.0) - 0.1


def test_the_slice_is_sorted_unique_and_in_the_catalogue() -> None:
    items, log_q = draw_slice(popularity(), 15, generator(0, "s"))
    assert items.dtype == torch.int32
    assert len(items) == len(log_q) == 15
    assert bool((items[1:] > items[:-1]).all())
    assert int(items[0]) >= 1
    assert int(items[-1]) <= 40
    assert log_q.dtype == torch.float32


def test_log_q_belongs_to_the_drawn_items() -> None:
    items, log_q = draw_slice(popularity(), 15, generator(0, "s"))
    q = inclusion(draw_weights(popularity()), 15)
    torch.testing.assert_close(log_q.exp(), q[items.long() - 1].float())


@pytest.mark.parametrize("size", [40, 41, 10**6])
def test_the_whole_catalogue_is_drawn_with_certainty(size: int) -> None:
    items, log_q = draw_slice(popularity(), size, generator(0, "s"))
    assert items.tolist() == list(range(1, 41))
    assert bool((log_q == 0).all())


def test_the_generator_decides() -> None:
    drawn = [draw_slice(popularity(), 10, generator(seed, "s"))[0].tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("claim", [-1e9, -1.0, 0.0])
def test_no_claim_keeps_an_item_out(claim: float) -> None:
    """Whatever is said of one item, its chance stays near that of an unpopular one."""
    honest = torch.full((1000,), 30.0)
    pushed = honest.clone()
    pushed[7] = claim
    fair, q = (float(inclusion(draw_weights(p), 300)[7]) for p in (honest, pushed))
    assert q > 0.35 * fair
    assert fair == pytest.approx(300 / 1000)


def test_no_claim_of_popularity_crowds_out_the_others() -> None:
    honest = torch.full((1000,), 30.0)
    pushed = honest.clone()
    pushed[:5] = 1e12  # five items that everyone is said to hold
    q = inclusion(draw_weights(pushed), 300)
    assert float(q[5:].min()) == pytest.approx(295 / 995, rel=1e-6)


def test_weights_are_the_square_root_of_popularity_and_a_floor() -> None:
    weights = draw_weights(torch.tensor([-3.0, 0.0, 4.0, 95.0]))
    assert weights.tolist() == pytest.approx([math.sqrt(5), math.sqrt(5), 3, 10])
