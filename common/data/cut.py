"""Part of a log: short histories, some of the devices, and its split: leave-one-out, or by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.names import Names
from common.data.ragged import Ragged, Value
from common.data.types import Dataset, Items, Split
from common.errors import DataError


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


def evaluable(whole: Dataset, length: int) -> Dataset:
    """:func:`recent`. Raises DataError where no history is long enough for an evaluation then."""
    log = recent(whole, length)
    longest, before = (int(one.sequences.lengths.max(initial=0)) for one in (log, whole))
    if longest < SHORTEST:
        cut = f" of data.max_length={length}" if longest < before else ""
        raise DataError(
            log.source or log.name,
            f"no device can be evaluated: that takes {SHORTEST} interactions (one to train on, one to "
            f"validate, one to test), and the longest history{cut} has {longest}",
        )
    return log


def split(sequence: Items) -> Split:
    """Hold out the last item for the test and the one before for validation.

    A history of fewer than three items trains whole and is not evaluated: ``valid`` and ``test`` are 0,
    the padding number, which no item has.
    """
    items = np.asarray(sequence, dtype=np.int32)
    if len(items) < SHORTEST:
        return Split(train=items, valid=0, test=0)
    return Split(train=items[:-2], valid=int(items[-2]), test=int(items[-1]))


@dataclass(frozen=True)
class Parts:
    """What of n histories is trained, validated and tested, int64 [n] each.

    train: how many interactions, the first, are trained on. valid, test: the place in the history of the item
    that is held out, so that what comes before it is the history; −1 where the device is not evaluated.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]

    def take(self, rows: Any) -> Parts:
        """Those of the histories at ``rows``."""
        return Parts(self.train[rows], self.valid[rows], self.test[rows])


def last_two(lengths: NDArray[np.int64]) -> Parts:
    """Leave-one-out, as :func:`split` has it."""
    short = lengths < SHORTEST
    return Parts(
        np.where(short, lengths, lengths - 2),
        np.where(short, -1, lengths - 2),
        np.where(short, -1, lengths - 1),
    )


def by_time(times: Ragged[np.float64], cuts: tuple[float, float]) -> Parts:
    """The global time split at the seconds t₁ < t₂ of ``cuts``, the same for all devices.

    Trained is what was at t₁ or before. The validation item is the first after t₁, where that is not after
    t₂; the test item is the first after t₂. A device without one, or without any history before it, is not
    evaluated there.
    """
    (early, late), owners, clock = cuts, times.owners(), times.flat()
    trained, known = (np.bincount(owners[clock <= cut], minlength=len(times)) for cut in (early, late))
    valid = np.where((trained > 0) & (known > trained), trained, -1)
    test = np.where((known > 0) & (times.lengths > known), known, -1)
    return Parts(trained, valid, test)


def cut_at(dataset: Dataset, cuts: tuple[float, float] | None) -> Dataset:
    """``dataset`` with the time split at ``cuts``; None leaves one out. Raises :class:`DataError`."""
    if cuts is not None:
        _times(dataset)
    return replace(dataset, cuts=cuts)


def _times(dataset: Dataset) -> Ragged[np.float64]:
    if dataset.times is None:
        raise DataError(
            dataset.source or dataset.name,
            "eval.split=time needs the time of each interaction, and this log has none; leave it out",
        )
    return dataset.times


def quantiles(dataset: Dataset, first: float, second: float) -> tuple[float, float]:
    """The seconds by which the shares ``first`` and ``second`` of all interactions of a log were there.

    Raises :class:`DataError` without times, and where no interaction lies between or after them.
    """
    clock = np.sort(_times(dataset).flat())
    early, late = (float(clock[max(0, int(np.ceil(share * len(clock))) - 1)]) for share in (first, second))
    if not early < late < clock[-1]:
        told = f"{early:.0f}, {late:.0f} of {clock[0]:.0f} to {clock[-1]:.0f} s"
        raise DataError(
            dataset.source or dataset.name,
            f"eval.quantiles=[{first:g}, {second:g}]: no interaction between or after these times ({told})",
        )
    return early, late


def parts(dataset: Dataset) -> Parts:
    """How ``dataset`` is split: by its cuts where it has them, else leave-one-out."""
    if dataset.cuts is None or dataset.times is None:
        return last_two(dataset.sequences.lengths)
    return by_time(dataset.times, dataset.cuts)


def training(histories: Ragged[Value], how: Parts | None = None) -> Ragged[Value]:
    """The training part of every history; items or times. Without ``how`` as :func:`split` has it."""
    return histories.first((how or last_two(histories.lengths)).train)


def training_counts(dataset: Dataset) -> NDArray[np.int64]:
    """How often each item is in the training parts of all devices: [N + 1], place 0 is padding."""
    counts = np.zeros(dataset.num_items + 1, dtype=np.int64)
    for part in training(dataset.sequences, parts(dataset)).chunks():
        counts += np.bincount(part.flat(), minlength=len(counts))
    return counts


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


def held_out(
    histories: Ragged[Value], which: str, how: Parts | None = None
) -> tuple[Ragged[Value], NDArray[Value]]:
    """What comes before the item held out for ``valid`` or ``test``, and that item, [m].

    Only of the m histories that are evaluated. Without ``how`` as :func:`split` has it.
    """
    how = how or last_two(histories.lengths)
    places = how.test if which == "test" else how.valid
    rows = np.flatnonzero(places >= 0)
    some, before = histories.take(rows), places[rows]
    return some.first(before), some.values[some.starts + before]
