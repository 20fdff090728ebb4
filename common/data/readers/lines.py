"""One line a user: the user's id, then the item ids in time order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from common.data.readers import blocks
from common.errors import DataError


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """Read ``user item item …``, separated by blanks.

    Raises :class:`DataError` for a line without items and for a user who has two lines: such a file is
    rather a list of pairs, and would be read in the wrong order.
    """
    first: dict[str, int] = {}
    for start, text in blocks.texts(path, blocks.of(path)):
        users: list[str] = []
        items: list[str] = []
        for line, row in enumerate(text.split("\n"), start=start):
            user, *history = row.split() or [""]
            if not user:
                continue
            if not history:
                raise DataError(path, "expected item ids after the user's id", line)
            if user in first:
                raise DataError(path, f"user {user} has a line already, line {first[user]}", line, "1")
            first[user] = line
            users += [user] * len(history)
            items += history
        yield pl.DataFrame({"user": users, "item": items}, schema={"user": pl.String, "item": pl.String})
    if not first:
        raise DataError(path, "the file is empty; expected a line a user")
