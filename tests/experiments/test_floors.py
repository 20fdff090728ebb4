"""The floors, against rankings made by hand and the published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import numpy as np
import polars as pl
import pytest

from common.data import Dataset, load
from common.data.build import build
from common.data.cut import held_out
from common.data.ragged import Ragged
from common.errors import DataError
from experiments import floors as module
from experiments.floors import Floor, evaluate, floors, markov, popularity, summarise


def log(*histories: str, catalogue: str = "") -> Dataset:
    """A letter an item; a = 1, b = 2, … where all letters occur."""
    pairs = [(str(user), item) for user, one in enumerate(histories) for item in one]
    return build("x", pl.DataFrame(pairs, schema=["user", "item"], orient="row"), catalogue=catalogue)


def dense(floor: Floor, *last: int) -> np.ndarray:
    """The scores of all items after each of ``last``: [m, N + 1]."""
    every = np.arange(len(floor.base))
    return np.stack([floor.scores(np.full(len(every), one), every) for one in last])


def test_popularity_counts_training_parts_only() -> None:
    data = log("aabcd", "abcd", "ad")  # train: aab, ab, ad (too short to hold out)
    assert dense(popularity(data), 1, 4).tolist() == [[0, 4, 2, 0, 1]] * 2


def test_markov_counts_transitions_of_training_parts_only() -> None:
    data = log("ababcd", "acbda", "dc")  # train: abab, acb, dc; counts a 3, b 3, c 2, d 1
    scores = dense(markov(data), 1, 2, 3, 4)
    base = np.array([0, 3, 3, 2, 1]) / 4
    assert scores[0] == pytest.approx(base + np.array([0, 0, 2, 1, 0]))
    assert scores[1] == pytest.approx(base + np.array([0, 1, 0, 0, 0]))
    assert scores[2] == pytest.approx(base + np.array([0, 0, 1, 0, 0]))
    assert scores[3] == pytest.approx(base + np.array([0, 0, 0, 1, 0]))


def test_an_item_never_left_falls_back_to_popularity() -> None:
    data = log("aaabcd", catalogue="e")
    markov_, popular = dense(markov(data), 5)[0], dense(popularity(data), 5)[0]
    assert np.argsort(-markov_).tolist() == np.argsort(-popular).tolist()


def fixed(*scores: float) -> Floor:
    return Floor(np.array([0.0, *scores]), np.zeros(0, dtype=np.int64), np.zeros(0))


@pytest.mark.parametrize(
    ("scores", "filtered", "rank"),
    [
        ((9, 8, 7, 6, 5), True, 2),  # seen a, b, c: e stands below d
        ((9, 8, 7, 6, 5), False, 5),
        ((0, 0, 0, 1, 2), True, 1),
        ((0, 0, 0, 1, 1), True, 2),  # equal scores rank by item number
        ((-5, -5, -5, -1, -2), False, 2),  # padding is in no ranking
    ],
)
def test_rank_of_the_test_item(scores: tuple[float, ...], filtered: bool, rank: int) -> None:
    data = log("abce", catalogue="d")
    assert evaluate(data, fixed(*scores), "test", filtered)["mrr"] == pytest.approx(1 / rank)


def test_validation_ranks_the_item_before_with_less_seen() -> None:
    data = log("abce", catalogue="d")
    assert evaluate(data, fixed(9, 8, 1, 2, 3), "valid")["mrr"] == pytest.approx(1 / 3)


def test_an_answer_seen_before_ranks_among_all_items() -> None:
    assert evaluate(log("abca"), fixed(1, 2, 3), "test")["mrr"] == pytest.approx(1 / 3)


def test_the_last_item_is_that_before_the_answer() -> None:
    data = log("abce", "ab", "cde")
    floor = Floor(np.zeros(6), np.array([2 * 6 + 3, 3 * 6 + 5]), np.array([1.0, 1.0]))  # b → c, c → e
    assert [evaluate(data, floor, "valid")["hr@5"], evaluate(data, floor, "valid")["mrr"]] == [1, 0.625]
    assert evaluate(data, floor, "test")["mrr"] == pytest.approx((1 + 1 / 3) / 2)


def slow_ranks(
    scores: np.ndarray, histories: Sequence[np.ndarray], answers: np.ndarray, filtered: bool
) -> list:
    """A matrix of all scores, row after row."""
    found = []
    for row, items, answer in zip(scores, histories, answers, strict=True):
        seen = set(items.tolist())
        left_out = {0} | (seen if filtered and answer not in seen else set())
        kept = [j for j in range(len(row)) if j not in left_out]
        found.append(1 + sorted(kept, key=lambda j: (-row[j], j)).index(answer))
    return found


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("name", ["popularity", "markov", "any"])
def test_ranks_are_places_in_the_matrix_of_scores(name: str, filtered: bool) -> None:
    data = load("synthetic", "devices=60,items=25,length=9")
    floor = module.FLOORS[name](data) if name != "any" else random_floor(25)
    before, answers = held_out(data.sequences, "test")
    held = answers.astype(np.int64)
    scores = dense(floor, *before.last(1).flat().tolist())
    expected = slow_ranks(scores, before, held, filtered)
    assert floor.ranks(before, held, filtered).tolist() == expected


def random_floor(items: int) -> Floor:
    """Many ties, and extras that reach other levels, fall between them, or lower a score."""
    chance = np.random.default_rng(3)
    size = items + 1
    pairs = np.flatnonzero(chance.random(size * size) < 0.4)
    pairs = pairs[(pairs % size > 0) & (pairs >= size)]
    return Floor(chance.integers(-2, 3, size).astype(float), pairs, chance.integers(-4, 5, len(pairs)) / 2)


def test_summary() -> None:
    told = summarise(np.array([1, 6, 15, 30]))
    assert [told[f"hr@{k}"] for k in (5, 10, 20)] == [0.25, 0.5, 0.75]
    assert told["ndcg@5"] == pytest.approx(1 / 4)
    assert told["ndcg@10"] == pytest.approx((1 + 1 / log2(7)) / 4)
    assert told["ndcg@20"] == pytest.approx((1 + 1 / log2(7) + 1 / 4) / 4)
    assert told["mrr"] == pytest.approx((1 + 1 / 6 + 1 / 15 + 1 / 30) / 4)


def test_nobody_to_evaluate() -> None:
    assert set(floors(log("ab", "c"))["popularity"].values()) == {0.0}


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("synthetic", "devices=50")
    whole = floors(data)
    monkeypatch.setattr(module, "CHUNK", 300)
    assert floors(data) == whole


def test_order_is_worth_learning_in_the_synthetic_log() -> None:
    told = floors(load("synthetic"))
    assert told["markov"]["ndcg@10"] > 2 * told["popularity"]["ndcg@10"]
    assert told["popularity"]["hr@10"] < 0.4


PUBLISHED = {"popularity": (0.086, 0.045), "markov": (0.144, 0.077)}


@pytest.mark.slow
def test_ml_100k_lands_on_the_published_floors() -> None:
    try:
        told = floors(load("ml-100k"))
    except DataError as error:
        pytest.skip(str(error))
    for name, (hr, ndcg) in PUBLISHED.items():
        assert told[name]["hr@10"] == pytest.approx(hr, abs=6e-4)
        assert told[name]["ndcg@10"] == pytest.approx(ndcg, abs=6e-4)


def test_a_log_is_counted_a_few_devices_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("synthetic", "devices=40,items=25,interactions=700")
    whole = {part: floors(data, part) for part in ("valid", "test")}
    monkeypatch.setattr(Ragged.chunks, "__defaults__", (30,))
    assert {part: floors(data, part) for part in ("valid", "test")} == whole
