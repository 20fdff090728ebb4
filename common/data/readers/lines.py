"""One line a user: the user's id, then the item ids in time order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import polars as pl

from common.data.readers import delimited
from common.data.readers.columns import recognised
from common.data.readers.source import Source
from common.errors import DataError


def frames(source: Source) -> Iterator[pl.DataFrame]:
    """Read ``user item item …``, separated by blanks; a file with a header line is read as a table.

    Raises :class:`DataError` for a line without items and for a user who has two lines: such a file is
    rather a list of pairs, and would be read in the wrong order.
    """
    pieces = iter(source.pieces)
    head = next(pieces, b"")
    source = replace(source, pieces=chain([head], pieces))
    line = head[:4096].decode("utf-8-sig", "replace").lstrip().split("\n", 1)[0].strip("\r")
    separator = delimited.separator_of(line, "\t", source)
    if source.prepare.columns or recognised(delimited.split(line, separator), source.prepare):
        return delimited.frames(source, "\t")
    return _users(source)


def _users(source: Source) -> Iterator[pl.DataFrame]:
    file, first = source.file, dict[str, int]()
    for rule, given in (("min_rating", source.prepare.min_rating), ("events", source.prepare.events)):
        if given:
            raise DataError(file, f"data.{rule}: a file with one line a user has items alone")
    for start, text in source.texts():
        users: list[str] = []
        items: list[str] = []
        for line, row in enumerate(text.split("\n"), start=start):
            user, *history = row.split() or [""]
            if not user:
                continue
            if not history:
                raise DataError(file, "expected item ids after the user's id", line)
            if user in first:
                raise DataError(
                    file,
                    f"user {user} has a line already, line {first[user]}; for a line an interaction give the "
                    "positions of its columns, as in data.columns={user: 1, item: 2, time: 4}",
                    line,
                    "1",
                )
            first[user] = line
            users += [user] * len(history)
            items += history
        yield pl.DataFrame({"user": users, "item": items}, schema={"user": pl.String, "item": pl.String})
    if not first:
        raise DataError(file, "the file is empty; expected a line a user")
    source.reading.format = f"one line a user, items in their order{source.reading.format}"
