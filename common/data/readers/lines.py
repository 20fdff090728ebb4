"""One line a user: the user's id, then the item ids in time order."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from common.data.readers import delimited
from common.errors import DataError


def read(path: Path) -> pl.DataFrame:
    """Read ``user item item …``, separated by blanks.

    Raises :class:`DataError` for a line without items and for a user who has two lines: such a file is
    rather a list of pairs, and would be read in the wrong order.
    """
    users: list[str] = []
    items: list[str] = []
    first: dict[str, int] = {}
    for line, row in enumerate(delimited.decode(path, path.read_bytes()).split("\n"), start=1):
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
    if not users:
        raise DataError(path, "the file is empty; expected a line a user")
    return pl.DataFrame({"user": users, "item": items}, schema={"user": pl.String, "item": pl.String})
