"""Part of a log: short histories, some of the devices, and the leave-one-out split of one history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.names import Names
from common.data.ragged import Ragged, Value
from common.data.types import Dataset, Items, Split


def recent(dataset: Dataset, length: int) -> Dataset:
    """Only the last ``length`` interactions of each device, before any split; 0 keeps all.

    The catalogue stays as it is, so that numbers and models of the whole log fit the cut one.
    """
    if not length:
        return dataset
    times = None if dataset.times is None else dataset.times.last(length)
    return replace(dataset, sequences=dataset.sequences.last(length), times=times)


def first(data: Dataset, devices: int) -> Dataset:
    """The first ``devices`` devices; 0 keeps all. The catalogue stays as it is."""
    if not devices or devices >= len(data):
        return data
    return replace(
        data,
        sequences=data.sequences[:devices],
        devices=data.devices[:devices],
        user_ids=data.user_ids[:devices],
        times=None if data.times is None else data.times[:devices],
    )


def only(data: Dataset, rows: Sequence[int] | NDArray[np.int64]) -> Dataset:
    """The devices at ``rows``, with their numbers."""
    chosen = np.asarray(rows, dtype=np.int64)
    return replace(
        data,
        sequences=data.sequences.take(chosen),
        devices=data.devices[chosen],
        user_ids=Names.of(data.user_ids).take(chosen),
        times=None if data.times is None else data.times.take(chosen),
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


def training(histories: Ragged[Value]) -> Ragged[Value]:
    """The training part of every history, as :func:`split` has it; items or times."""
    return histories.first(np.where(histories.lengths < SHORTEST, histories.lengths, histories.lengths - 2))


def recurs(histories: Ragged[np.int32], answers: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which ``answers`` [m] are in the history before them: bool [m]."""
    found = np.zeros(len(histories), dtype=bool)
    start = 0
    for some in histories.chunks():
        owners = some.owners()
        hit = some.flat() == answers[start : start + len(some)][owners]
        found[start + owners[hit]] = True
        start += len(some)
    return found


def held_out(histories: Ragged[Value], which: str) -> tuple[Ragged[Value], NDArray[Value]]:
    """What comes before the item held out for ``valid`` or ``test``, and that item, [m].

    Only of the m histories that are long enough to be evaluated.
    """
    back = 1 if which == "test" else 2
    long = histories.take(histories.lengths >= SHORTEST)
    return long.first(long.lengths - back), long.values[long.starts + long.lengths - back]
