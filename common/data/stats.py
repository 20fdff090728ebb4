"""What a log looks like, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.data.cut import SHORTEST
from common.data.types import Dataset


@dataclass(frozen=True)
class Stats:
    """Counts of a log.

    density    interactions / (users · items)
    quartiles  25 %, 50 % and 75 % of history length
    repeated   share of interactions with an item that the user had before
    unrated    items that nobody in the log has
    short      users with too few items to be evaluated
    tied_ends  share of users whose last two interactions have one time stamp, so that the order in the file
               decides the test item; None without times
    """

    users: int
    items: int
    interactions: int
    density: float
    shortest: int
    longest: int
    quartiles: tuple[float, float, float]
    repeated: float
    unrated: int
    short: int
    tied_ends: float | None


def stats(dataset: Dataset) -> Stats:
    """Describe ``dataset``, which has at least one interaction."""
    histories, lengths, size = dataset.sequences, dataset.sequences.lengths, dataset.num_items + 1
    total = int(lengths.sum())
    distinct, used = 0, np.zeros(size, dtype=bool)
    for some in histories.chunks():
        items = some.flat()
        pairs = some.owners() * size + items
        pairs.sort()  # several times as fast as np.unique
        distinct += int((pairs[1:] != pairs[:-1]).sum()) + bool(len(pairs))
        used[items] = True
    low, median, high = (float(q) for q in np.quantile(lengths, (0.25, 0.5, 0.75)))
    tied = None
    if dataset.times is not None:
        long = dataset.times.take(lengths > 1)
        ends = long.starts + long.lengths
        tied = float((long.values[ends - 1] == long.values[ends - 2]).sum() / len(dataset))
    return Stats(
        users=len(dataset),
        items=dataset.num_items,
        interactions=total,
        density=total / (len(dataset) * dataset.num_items),
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        quartiles=(low, median, high),
        repeated=1 - distinct / total,
        unrated=dataset.num_items - int(used.sum()),
        short=int((lengths < SHORTEST).sum()),
        tied_ends=tied,
    )
