"""Part of a log: short histories, some of the devices, and the leave-one-out split of one history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.data.types import Dataset, Items, Split


def recent(dataset: Dataset, length: int) -> Dataset:
    """Only the last ``length`` interactions of each device, before any split; 0 keeps all.

    The catalogue stays as it is, so that numbers and models of the whole log fit the cut one.
    """
    if not length:
        return dataset
    times = None if dataset.times is None else tuple(one[-length:] for one in dataset.times)
    return replace(dataset, sequences=tuple(one[-length:] for one in dataset.sequences), times=times)


def only(data: Dataset, rows: Sequence[int]) -> Dataset:
    """The devices at ``rows``, with their numbers."""
    return replace(
        data,
        sequences=tuple(data.sequences[i] for i in rows),
        devices=data.devices[list(rows)],
        user_ids=tuple(data.user_ids[i] for i in rows),
        times=None if data.times is None else tuple(data.times[i] for i in rows),
    )


SHORTEST = 3
"""Items a history needs to be evaluated: one to train on, one to validate, one to test."""


def split(sequence: Items) -> Split:
    """Hold out the last item for the test and the one before for validation.

    A history of fewer than three items trains whole and is not evaluated: ``valid`` and ``test`` are 0,
    the padding number, which no item has.
    """
    items = np.asarray(sequence, dtype=np.int32)
    if len(items) < SHORTEST:
        return Split(train=items, valid=0, test=0)
    return Split(train=items[:-2], valid=int(items[-2]), test=int(items[-1]))
