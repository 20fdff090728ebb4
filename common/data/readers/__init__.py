"""From a file to a table of interactions: one reader a format, chosen by the file's ending."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from common.data.readers import csv, inter, lines, movielens, parquet, tsv
from common.errors import DataError

Reader = Callable[[Path], Iterator[pl.DataFrame]]

READERS: dict[str, Reader] = {
    ".csv": csv.frames,
    ".tsv": tsv.frames,
    ".parquet": parquet.frames,
    ".inter": inter.frames,
    ".txt": lines.frames,
    ".data": movielens.frames,
    ".dat": movielens.frames,
}


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """Tables of ``user``, ``item`` (text) and, where the log has it, ``time`` (seconds), in file order.

    One after the other, a table a block of the file, so that a log of any size needs little memory.
    Raises :class:`DataError` for a file that is missing, of an unknown ending, or malformed.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(path, f"unknown ending {path.suffix!r}; expected one of {', '.join(READERS)}")
    try:
        yield from reader(path)
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def read(path: Path) -> pl.DataFrame:
    """All of :func:`frames` as one table."""
    return pl.concat(frames(path))
