"""From tables of interactions to a :class:`Dataset`: numbers, order, histories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from common.data import rules
from common.data.names import Names, Titles
from common.data.ragged import CHUNK, Ragged
from common.data.readers.times import in_seconds
from common.data.types import Dataset
from common.preparation import Preparation, Reading

_INTEGER = r"^-?[0-9]{1,18}$"
USERS = 1 << 16
"""Users that are sorted together at most: their numbers fit uint16, which numpy sorts by radix."""

Numbers = NDArray[np.int32]
Seconds = NDArray[np.float64]
Times = Ragged[np.float64] | None
Part = TypeVar("Part")


def order(ids: Iterable[str]) -> pl.Series:
    """Unique ids in catalogue order: by value if all are integers, else by text.

    >>> order(["10", "9", "1"]).to_list(), order(["10", "9", "b"]).to_list()
    (['1', '9', '10'], ['10', '9', 'b'])
    """
    unique = Names.of(ids).column.unique().sort()
    if not unique.str.contains(_INTEGER).all():
        return unique
    return unique.gather(unique.cast(pl.Int64).to_numpy().argsort(kind="stable"))


class Coder:
    """Numbers ids from 0 in the order in which they come, and keeps each once."""

    def __init__(self) -> None:
        self._known = pl.DataFrame(schema={"id": pl.String, "code": pl.Int32})
        self._parts: list[Numbers] = []

    def add(self, ids: pl.Series) -> None:
        """Take the next ids."""
        column = ids.alias("id").to_frame()
        codes = column.join(self._known, on="id", how="left", maintain_order="left")["code"]
        if codes.null_count():
            unknown = column.filter(codes.is_null())
            new = unknown.unique(maintain_order=True).with_row_index("code", len(self._known))
            new = new.select("id", pl.col("code").cast(pl.Int32))
            numbered = unknown.join(new, on="id", how="left", maintain_order="left")["code"]
            codes = codes.scatter(codes.is_null().arg_true(), numbered)
            self._known = pl.concat([self._known, new], rechunk=True)
        self._parts.append(codes.to_numpy())

    def numbers(self, more: Iterable[str] = ()) -> tuple[Numbers, pl.Series]:
        """Number from 1 of every id that was added, in catalogue order, and the ids in that order.

        ``more`` are ids that are in the catalogue besides. What was added is forgotten.
        """
        ids = order(pl.concat([self._known["id"], pl.Series(list(more), dtype=pl.String)]))
        place = self._known.join(
            ids.to_frame("id").with_row_index("place"), on="id", how="left", maintain_order="left"
        )
        ranks = place["place"].to_numpy().astype(np.int32) + 1
        numbers = np.empty(sum(map(len, self._parts)), dtype=np.int32)
        start = 0
        for part in _emptied(self._parts):
            numbers[start : start + len(part)] = ranks[part]
            start += len(part)
        return numbers, ids


def build(
    name: str,
    log: pl.DataFrame | Iterable[pl.DataFrame],
    titles: Mapping[str, str] | None = None,
    catalogue: Iterable[str] = (),
    source: str = "",
    prepare: Preparation | None = None,
    reading: Reading | None = None,
) -> Dataset:
    """Number users and items from 1 and put each history in time order.

    ``log`` has ``user``, ``item`` (text) and perhaps ``time`` (of any unit), in file order; or it is many
    such tables, of which one at a time is held: an interaction then takes 8 bytes, or 16 with its time, twice
    while it is put in order.

    The sort by time is stable, so equal times keep the file's order; without times the file's order is the
    order. ``prepare`` leaves interactions out (None: all stay), and ``reading`` counts them. ``titles`` maps
    the log's item ids to titles; ``catalogue`` names items that exist even if nobody in the log has them.
    Raises :class:`DataError` where times have several units, and where nothing is left.
    """
    users, items, seconds = Coder(), Coder(), list[Seconds]()
    reading, label = reading or Reading(), source or name
    tables = [log] if isinstance(log, pl.DataFrame) else log
    for table in tables if prepare is None else rules.filtered(label, tables, prepare, reading):
        users.add(table["user"])
        items.add(table["item"])
        if "time" in table.columns:
            seconds.append(table["time"].to_numpy())
    user_of, user_ids = users.numbers()
    item_of, item_ids = items.numbers(catalogue)
    times = _joined(seconds) if seconds else None
    if times is not None:
        reading.unit = in_seconds(label, times)
    sequences, clock = histories(user_of, len(user_ids), item_of, times)
    del user_of, item_of, times
    if prepare is not None:
        size = len(item_ids)
        sequences, clock = rules.thinned(sequences, clock, size, prepare, reading)
        if not sequences.lengths.sum():
            raise rules.nothing(label, reading)
        if not sequences.lengths.all():
            rows = sequences.lengths > 0
            sequences, user_ids = sequences.take(rows), user_ids.filter(pl.Series(rows))
            clock = None if clock is None else clock.take(rows)
        if (used := np.bincount(sequences.flat(), minlength=size + 1)[1:] > 0).sum() < size and not catalogue:
            number = np.append(0, np.cumsum(used)).astype(np.int32)
            sequences = Ragged.split(number[sequences.flat()], sequences.lengths)
            clock = None if clock is None else Ragged(clock.flat(), sequences.starts, sequences.lengths)
            item_ids = item_ids.filter(pl.Series(used))
    named = titles or {}
    return Dataset(
        name=name,
        num_items=len(item_ids),
        sequences=sequences,
        devices=np.arange(1, len(user_ids) + 1),
        item_ids=Names(item_ids),
        user_ids=Names(user_ids),
        titles=Titles(item_ids.replace_strict(dict(named), default=None, return_dtype=pl.String)),
        times=clock,
        source=source,
        reading=reading,
    )


def histories(
    users: Numbers, count: int, items: Numbers, times: Seconds | None
) -> tuple[Ragged[np.int32], Times]:
    """Items and times of each user 1 to ``count``, in the order of time and then of place in the arrays [n].

    Users are sorted a few at a time, so that the sort needs little memory beside the result.
    """
    lengths = np.bincount(users, minlength=count + 1)[1:].astype(np.int64)
    if _ordered(users, times):
        sequences: Ragged[np.int32] = Ragged.split(items, lengths)
        return sequences, None if times is None else Ragged(times, sequences.starts, lengths)
    sequences = Ragged.split(np.empty_like(items), lengths)
    clock = None if times is None else np.empty_like(times)
    for first, last in _runs(lengths):
        rows = np.flatnonzero((users > first) & (users <= last))
        if times is not None:
            part = times[rows]
            if (part[1:] < part[:-1]).any():
                rows = rows[part.argsort(kind="stable")]
        rows = rows[(users[rows] - first - 1).astype(np.uint16).argsort(kind="stable")]
        start = sequences.starts[first]
        sequences.values[start : start + len(rows)] = items[rows]
        if clock is not None and times is not None:
            clock[start : start + len(rows)] = times[rows]
    return sequences, None if clock is None else Ragged(clock, sequences.starts, lengths)


def _ordered(users: Numbers, times: Seconds | None) -> bool:
    if (users[1:] < users[:-1]).any():
        return False
    return times is None or not ((times[1:] < times[:-1]) & (users[1:] == users[:-1])).any()


def _runs(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of at most USERS users with at most CHUNK interactions, or one user: first and end, from 0."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, before + CHUNK, side="right"))
        last = min(max(last, first + 1), first + USERS, len(lengths))
        yield first, last
        first = last


def _joined(parts: list[Seconds]) -> Seconds:
    """The parts one after the other; each is let go once it is copied."""
    joined, start = np.empty(sum(map(len, parts)), dtype=np.float64), 0
    for part in _emptied(parts):
        joined[start : start + len(part)] = part
        start += len(part)
    return joined


def _emptied(parts: list[Part]) -> Iterator[Part]:
    parts.reverse()
    while parts:
        yield parts.pop()
