"""From a file to a table of interactions: one reader a format, chosen by the file's ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from common.data.readers import csv, inter, lines, movielens, parquet, tsv
from common.errors import DataError

Reader = Callable[[Path], pl.DataFrame]

READERS: dict[str, Reader] = {
    ".csv": csv.read,
    ".tsv": tsv.read,
    ".parquet": parquet.read,
    ".inter": inter.read,
    ".txt": lines.read,
    ".data": movielens.read,
    ".dat": movielens.read,
}


def read(path: Path) -> pl.DataFrame:
    """Columns ``user``, ``item`` (text) and, where the log has it, ``time`` (seconds), in file order.

    Raises :class:`DataError` for a file that is missing, of an unknown ending, or malformed.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(path, f"unknown ending {path.suffix!r}; expected one of {', '.join(READERS)}")
    try:
        return reader(path)
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
