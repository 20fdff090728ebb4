"""The rules that leave interactions out: by event and rating as lines come, the rest by whole histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from common.data.ragged import Ragged
from common.errors import DataError, choices
from common.preparation import Preparation, Reading

Histories = Ragged[np.int32]
Times = Ragged[np.float64] | None
Mask = NDArray[np.bool_]


def filtered(
    source: object, tables: Iterable[pl.DataFrame], prepare: Preparation, reading: Reading
) -> Iterator[pl.DataFrame]:
    """``tables`` without the events and ratings that ``prepare`` leaves out, each counted in ``reading``.

    Raises :class:`DataError` for an event that the log does not have, and where nothing is left.
    """
    events, left = Counter[str](), 0
    for table in tables:
        reading.rows += table.height
        if prepare.events:
            kinds = table["event"].value_counts()
            events.update(dict(zip(kinds["event"], kinds["count"], strict=True)))
            table = _kept(table, pl.col("event").is_in(prepare.events), "data.events", reading)
        if prepare.min_rating:
            enough = pl.col("rating").fill_nan(None).fill_null(-np.inf) >= prepare.min_rating
            table = _kept(table, enough, "data.min_rating", reading)
        left += table.height
        yield table.select([name for name in ("user", "item", "time") if name in table.columns])
    for event in prepare.events:
        if event not in events:
            listed = [name for name, _ in events.most_common()]
            raise DataError(source, f"data.events: no event {event!r} in the log{choices(event, listed)}")
    if not left:
        raise nothing(source, reading)


def nothing(source: object, reading: Reading) -> DataError:
    """What to raise where the rules leave no interaction."""
    rules = ", ".join(f"{rows:,} by {rule}" for rule, rows in reading.dropped.items())
    return DataError(source, f"no interaction of {reading.rows:,} is left; dropped: {rules or 'none'}")


def _kept(table: pl.DataFrame, keep: pl.Expr, rule: str, reading: Reading) -> pl.DataFrame:
    kept = table.filter(keep)
    reading.drop(rule, table.height - kept.height)
    return kept


def thinned(
    histories: Histories, times: Times, size: int, prepare: Preparation, reading: Reading
) -> tuple[Histories, Times]:
    """Histories in time order without what ``prepare`` leaves out of items 1 to ``size``; some may be empty.

    First exact duplicates, then repeats, then users and items with too few interactions.
    """
    if prepare.duplicates == "drop" and times is not None:
        keep = _by_chunks(histories, times, lambda some, clock: _first(_runs(some, clock), some.flat(), size))
        histories, times = _without(histories, times, keep, "data.duplicates", reading)
    if prepare.repeats == "drop":
        keep = _by_chunks(histories, times, lambda some, _: _first(some.owners(), some.flat(), size))
        histories, times = _without(histories, times, keep, "data.repeats", reading)
    if prepare.min_user > 1 or prepare.min_item > 1:
        histories, times = _core(histories, times, size, prepare, reading)
    return histories, times


def _by_chunks(histories: Histories, times: Times, rule: Callable[[Histories, Times], Mask]) -> Mask:
    keep, start, done = np.ones(int(histories.lengths.sum()), dtype=bool), 0, 0
    for some in histories.chunks():
        clock = None if times is None else times[done : done + len(some)]
        found = rule(some, clock)
        keep[start : start + len(found)] = found
        start, done = start + len(found), done + len(some)
    return keep


def _runs(histories: Histories, times: Times) -> NDArray[np.int64]:
    """The number of the run of one user and one time that each interaction belongs to."""
    owners, clock = histories.owners(), np.asarray(times.flat() if times is not None else ())
    new = np.append(False, (owners[1:] != owners[:-1]) | (clock[1:] != clock[:-1]))
    return np.cumsum(new[: len(owners)])


def _first(groups: NDArray[np.int64], items: NDArray[np.int32], size: int) -> Mask:
    """Which interactions are the first with their item in their group; groups ascend."""
    keep = np.ones(len(items), dtype=bool)
    tied = np.bincount(groups, minlength=1)[groups] > 1 if len(groups) else keep
    rows = np.flatnonzero(tied)  # a group of one has no second
    key = groups[rows] * (size + 1) + items[rows]
    order = key.argsort(kind="stable")
    again = order[1:][key[order][1:] == key[order][:-1]]
    keep[rows[again]] = False
    return keep


def _core(
    histories: Histories, times: Times, size: int, prepare: Preparation, reading: Reading
) -> tuple[Histories, Times]:
    """The k-core: users and items go until all that are left have enough."""
    while True:
        counts = np.bincount(histories.flat(), minlength=size + 1)
        few = (counts[histories.flat()] < prepare.min_item) if prepare.min_item > 1 else None
        if few is not None and few.any():
            histories, times = _without(histories, times, ~few, "data.min_item", reading)
        short = (histories.lengths > 0) & (histories.lengths < prepare.min_user)
        if not short.any():
            return histories, times
        keep = np.repeat(~short, histories.lengths)
        histories, times = _without(histories, times, keep, "data.min_user", reading)


def _without(
    histories: Histories, times: Times, keep: Mask, rule: str, reading: Reading
) -> tuple[Histories, Times]:
    if keep.all():
        return histories, times
    reading.drop(rule, int(len(keep) - keep.sum()))
    ends = np.cumsum(np.append(0, keep))
    cuts = np.append(0, np.cumsum(histories.lengths))
    lengths = ends[cuts[1:]] - ends[cuts[:-1]]
    kept: Histories = Ragged.split(histories.flat()[keep], lengths)
    return kept, None if times is None else Ragged(times.flat()[keep], kept.starts, lengths)
