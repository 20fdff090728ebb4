"""The two floors that every result stands beside: popularity and the first-order Markov chain.

A model that does not beat Markov-1 has learned nothing from the order before the last item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.data import Dataset
from common.data.cut import held_out, only, training
from common.data.ragged import Ragged

Scores = NDArray[np.float64]
Scorer = Callable[[NDArray[np.int64]], Scores]
CUTS = (5, 10, 20)
CHUNK = 2_000_000
"""Scores held at once, so that a large catalogue does not need a users × items matrix."""


def popularity(dataset: Dataset) -> Scorer:
    """Score every item by its count in the training parts, whatever came last.

    The scorer maps last items [m] to scores [m, num_items + 1]; column 0 (padding) is 0.
    """
    counts = _counts(dataset)
    return lambda last: np.tile(counts, (len(last), 1))


def markov(dataset: Dataset) -> Scorer:
    """Score item j after i by how often j follows i in the training parts.

    score(j | i) = n(i → j) + n(j) / (1 + max n): the popularity term is below 1, so it orders only items
    with equal transition counts, all of them where i was never left. Shapes as in :func:`popularity`.
    """
    counts = _counts(dataset)
    base = counts / (1.0 + counts.max(initial=0.0))
    size = len(counts)
    keys, repeats = _pairs(training(dataset.sequences), size)
    starts = np.searchsorted(keys // size, np.arange(size + 1))

    def score(last: NDArray[np.int64]) -> Scores:
        scores = np.tile(base, (len(last), 1))
        for row, item in enumerate(last):
            hits = slice(starts[item], starts[item + 1])
            scores[row, keys[hits] % size] += repeats[hits]
        return scores

    return score


def _counts(dataset: Dataset) -> Scores:
    counts = np.zeros(dataset.num_items + 1)
    for part in training(dataset.sequences).chunks():
        counts += np.bincount(part.flat(), minlength=len(counts))
    return counts


def _pairs(parts: Ragged[np.int32], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The keys i · size + j of all pairs of items in sequence, ascending, and how often each is there."""
    keys, repeats = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for part in parts.chunks():
        places = part.first(part.lengths - 1).take(part.lengths > 1).places()
        some, counts = np.unique(
            parts.values[places].astype(np.int64) * size + parts.values[places + 1], return_counts=True
        )
        keys, place = np.unique(np.concatenate([keys, some]), return_inverse=True)
        repeats = np.bincount(place, np.concatenate([repeats, counts]), len(keys)).astype(np.int64)
    return keys, repeats


FLOORS: dict[str, Callable[[Dataset], Scorer]] = {"popularity": popularity, "markov": markov}


def floors(
    dataset: Dataset,
    part: Literal["valid", "test"] = "test",
    filtered: bool = True,
    devices: Sequence[int] | None = None,
) -> dict[str, dict[str, float]]:
    """Full-ranking hr@k, ndcg@k (k = 5, 10, 20) and mrr of every floor, averaged over devices.

    Counts come from the training parts alone; for the test item the validation item is the last item and
    is seen. ``filtered`` leaves seen items out of the ranking, except the answer itself where it recurs.
    ``devices`` are positions to evaluate (None: all); counts always come from every device.
    """
    judged = dataset if devices is None else only(dataset, devices)
    return {name: evaluate(judged, floor(dataset), part, filtered) for name, floor in FLOORS.items()}


def evaluate(
    dataset: Dataset, scorer: Scorer, part: Literal["valid", "test"] = "test", filtered: bool = True
) -> dict[str, float]:
    """Rank the whole catalogue for every device with a history long enough; see :func:`floors`."""
    before, answers = held_out(dataset.sequences, part)
    step = max(1, CHUNK // (dataset.num_items + 1))
    ranks = [
        _ranks(scorer, before[at : at + step], answers[at : at + step], filtered)
        for at in range(0, len(before), step)
    ]
    return summarise(np.concatenate(ranks) if ranks else np.zeros(0, dtype=np.int64))


def _ranks(
    scorer: Scorer, histories: Ragged[np.int32], answers: NDArray[np.int32], filtered: bool
) -> NDArray[np.int64]:
    """Rank from 1 of each answer given the history before; equal scores rank by item number."""
    scores = scorer(histories.last(1).flat().astype(np.int64))
    rows = np.arange(len(histories))
    own = scores[rows, answers].copy()
    scores[:, 0] = -np.inf
    if filtered:
        # A recurring answer keeps its score: it is compared by `own`.
        scores[histories.owners(), histories.flat()] = -np.inf
    tied = (scores == own[:, None]) & (np.arange(scores.shape[1]) < answers[:, None])
    ranks: NDArray[np.int64] = 1 + ((scores > own[:, None]) | tied).sum(axis=1)
    return ranks


def summarise(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Means over ranks from 1: hr@k = [rank ≤ k], ndcg@k = [rank ≤ k] / log2(rank + 1), mrr = 1 / rank.

    No ranks give 0 throughout.
    """
    total = max(1, len(ranks))
    gain = 1.0 / np.log2(ranks + 1.0)
    result = {f"hr@{k}": float((ranks <= k).sum() / total) for k in CUTS}
    result |= {f"ndcg@{k}": float(gain[ranks <= k].sum() / total) for k in CUTS}
    return result | {"mrr": float((1.0 / ranks).sum() / total)}
