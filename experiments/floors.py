"""The two floors that every result stands beside: popularity and the first-order Markov chain.

A model that does not beat Markov-1 has learned nothing from the order before the last item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from common.data import Dataset
from common.data.cut import held_out, only, parts, recurs, training, training_counts
from common.data.ragged import Ragged
from common.metrics import metric
from common.tasks import ACCURACY

Values = NDArray[np.float64]
Index = NDArray[np.int64]
CHUNK = 2_000_000
"""Pairs of a device and an item looked at together; there is never a matrix of all."""


@dataclass(frozen=True, eq=False)
class Floor:
    """score(j | i) = base_j + extra(i, j), of item j after i, where few pairs have an extra, above 0.

    base  [N + 1], place 0 (padding) meaningless; pairs  int64 [p], i · (N + 1) + j, ascending; extra  [p]
    """

    base: Values
    pairs: Index
    extra: Values

    def scores(self, last: Index, items: Index) -> Values:
        """The score of ``items`` [m], each after its ``last`` [m]."""
        found: Values = self.base[items].copy()
        if len(self.pairs):
            key = last * len(self.base) + items
            place = np.searchsorted(self.pairs, key).clip(max=len(self.pairs) - 1)
            found += np.where(self.pairs[place] == key, self.extra[place], 0.0)
        return found

    def ranks(self, histories: Ragged[np.int32], answers: Index, filtered: bool) -> Index:
        """Rank from 1 of each answer given the history before; equal scores rank by item number.

        Seen items are left out where ``filtered``, unless the answer is one: that is ranked among all. All
        items are counted by their base alone; then those with an extra are taken off and counted anew, and
        seen ones taken off.
        """
        size, last = len(self.base), histories.last(1).flat().astype(np.int64)
        own = self.scores(last, answers)  # [m]
        levels, level = np.unique(self.base[1:], return_inverse=True)
        order = np.lexsort((np.arange(1, size), -level))  # items - 1, best first
        keys = (len(levels) - level[order]) * size + order + 1  # ascending: a level, then numbers
        above = np.searchsorted(levels, own, "right")  # levels up to the own score
        there = levels[(above - 1).clip(min=0)] == own
        least = (len(levels) - above + 1) * size  # behind all of a larger level
        ranks = 1 + np.searchsorted(keys, np.where(there, least + answers, least))

        def count(owner: Index, items: Index, values: Values, sign: int) -> None:
            better = (values > own[owner]) | ((values == own[owner]) & (items < answers[owner]))
            np.add.at(ranks, owner[better], sign)

        starts = np.searchsorted(self.pairs, np.arange(size + 1) * size)
        follow = Ragged(self.pairs, starts[last], starts[last + 1] - starts[last])
        owner, items = follow.owners(), follow.flat() % size
        count(owner, items, self.base[items], -1)
        count(owner, items, self.base[items] + self.extra[follow.places()], 1)
        if filtered:
            key = np.sort(histories.owners() * size + histories.flat())
            owner, items = np.divmod(key[np.append(True, np.diff(key) > 0)[: len(key)]], size)
            once = ~recurs(histories, answers)[owner]
            owner, items = owner[once], items[once]
            count(owner, items, self.scores(last[owner], items), -1)
        return ranks


def popularity(dataset: Dataset) -> Floor:
    """Score every item by its count in the training parts, whatever came last."""
    return Floor(_counts(dataset), np.zeros(0, dtype=np.int64), np.zeros(0))


def markov(dataset: Dataset) -> Floor:
    """Score item j after i by how often j follows i in the training parts.

    score(j | i) = n(i → j) + n(j) / (1 + max n): the popularity term is below 1, so it orders only items
    with equal transition counts, all of them where i was never left.
    """
    counts = _counts(dataset)
    keys, repeats = _pairs(training(dataset.sequences, parts(dataset)), len(counts))
    return Floor(counts / (1.0 + counts.max(initial=0.0)), keys, repeats.astype(np.float64))


def _counts(dataset: Dataset) -> Values:
    return training_counts(dataset).astype(np.float64)


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


FLOORS: dict[str, Callable[[Dataset], Floor]] = {"popularity": popularity, "markov": markov}


def floors(
    dataset: Dataset,
    part: Literal["valid", "test"] = "test",
    filtered: bool = True,
    devices: Sequence[int] | None = None,
) -> dict[str, dict[str, float]]:
    """Full-ranking hr@k, ndcg@k (k = 5, 10, 20) and mrr of every floor, averaged over devices.

    Counts come from the training parts alone; for the test item the validation item is the last item and
    is seen. ``filtered`` leaves seen items out of the ranking, except where the answer is one.
    ``devices`` are positions to evaluate (None: all); counts always come from every device.
    """
    judged = dataset if devices is None else only(dataset, devices)
    return {name: evaluate(judged, floor(dataset), part, filtered) for name, floor in FLOORS.items()}


def evaluate(
    dataset: Dataset, floor: Floor, part: Literal["valid", "test"] = "test", filtered: bool = True
) -> dict[str, float]:
    """Rank the whole catalogue for every device with a history long enough; see :func:`floors`."""
    before, answers = held_out(dataset.sequences, part, parts(dataset))
    held = answers.astype(np.int64)
    follow = np.bincount(floor.pairs // len(floor.base), minlength=len(floor.base))
    work = np.cumsum(before.lengths + follow[before.last(1).flat()]) // CHUNK
    cuts = [0, *(np.flatnonzero(np.diff(work)) + 1).tolist(), len(before)]
    ranks = [floor.ranks(before[i:j], held[i:j], filtered) for i, j in pairwise(cuts) if i < j]
    return summarise(np.concatenate(ranks) if ranks else np.zeros(0, dtype=np.int64))


def summarise(ranks: NDArray[np.int64]) -> dict[str, float]:
    """The mean of every metric over ranks from 1; no ranks give 0 throughout."""
    values = {name: metric(name, torch.from_numpy(ranks - 1)) for name in ACCURACY}
    return {name: float(each.sum()) / max(1, len(ranks)) for name, each in values.items()}
