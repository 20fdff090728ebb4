"""The floors, against rankings made by hand and the published numbers."""

from __future__ import annotations

from math import log2

import numpy as np
import polars as pl
import pytest

from common.data import Dataset, load
from common.data.build import build
from common.data.ragged import Ragged
from common.errors import DataError
from experiments import floors as module
from experiments.floors import evaluate, floors, markov, popularity, summarise


def log(*histories: str, catalogue: str = "") -> Dataset:
    """A letter an item; a = 1, b = 2, … where all letters occur."""
    pairs = [(str(user), item) for user, one in enumerate(histories) for item in one]
    return build("x", pl.DataFrame(pairs, schema=["user", "item"], orient="row"), catalogue=catalogue)


def test_popularity_counts_training_parts_only() -> None:
    data = log("aabcd", "abcd", "ad")  # train: aab, ab, ad (too short to hold out)
    assert popularity(data)(np.array([1, 4])).tolist() == [[0, 4, 2, 0, 1]] * 2


def test_markov_counts_transitions_of_training_parts_only() -> None:
    data = log("ababcd", "acbda", "dc")  # train: abab, acb, dc; counts a 3, b 3, c 2, d 1
    scores = markov(data)(np.array([1, 2, 3, 4]))
    base = np.array([0, 3, 3, 2, 1]) / 4
    assert scores[0] == pytest.approx(base + np.array([0, 0, 2, 1, 0]))
    assert scores[1] == pytest.approx(base + np.array([0, 1, 0, 0, 0]))
    assert scores[2] == pytest.approx(base + np.array([0, 0, 1, 0, 0]))
    assert scores[3] == pytest.approx(base + np.array([0, 0, 0, 1, 0]))


def test_an_item_never_left_falls_back_to_popularity() -> None:
    data = log("aaabcd", catalogue="e")
    last = np.array([5])
    assert np.argsort(-markov(data)(last)[0]).tolist() == np.argsort(-popularity(data)(last)[0]).tolist()


def fixed(*scores: float) -> module.Scorer:
    return lambda last: np.tile(np.array([0.0, *scores]), (len(last), 1))


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


def test_an_answer_seen_before_stays_in_the_ranking() -> None:
    assert evaluate(log("abca"), fixed(1, 2, 3), "test")["mrr"] == 1


def test_the_last_item_given_to_the_scorer() -> None:
    seen: list[list[int]] = []

    def scorer(last: np.ndarray) -> np.ndarray:
        seen.append(last.tolist())
        return np.zeros((len(last), 6))

    data = log("abce", "ab", "cde")
    evaluate(data, scorer, "test")
    evaluate(data, scorer, "valid")
    assert seen == [[3, 4], [2, 3]]


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
