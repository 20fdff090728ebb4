"""From a file to a table of interactions: one reader a format, chosen by the file's ending."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from common.data.readers import delimited, inter, json_lines, lines, movielens, parquet
from common.data.readers.source import PACKED, Source, ending, opened
from common.errors import DataError
from common.preparation import AS_IT_IS, Preparation, Reading

__all__ = ["READERS", "ending", "frames", "read", "readable", "refuse"]

Reader = Callable[[Source], Iterator[pl.DataFrame]]

READERS: dict[str, Reader] = {
    ".csv": delimited.csv_frames,
    ".tsv": delimited.tsv_frames,
    ".parquet": parquet.frames,
    ".inter": inter.frames,
    ".txt": lines.frames,
    ".data": movielens.frames,
    ".dat": movielens.frames,
    ".jsonl": json_lines.frames,
    ".ndjson": json_lines.frames,
    ".json": json_lines.frames,
}
ADVICE = {
    ".xlsx": "; save the sheet as CSV",
    ".xls": "; save the sheet as CSV",
    ".zst": "; unpack it, or pack it with gzip",
    ".7z": "; unpack it",
    ".tar": "; unpack it",
    ".tgz": "; unpack it",
}


def readable(path: Path) -> bool:
    """Whether the ending of ``path`` is one that is read."""
    inner, packed = ending(path)
    return inner in READERS or packed == ".zip"


def refuse(path: Path) -> DataError:
    """What to raise for an ending that is not read."""
    if path.is_dir():
        return DataError(path, "is a folder; expected a file with a log")
    last = path.suffix.lower()
    known = f"{', '.join(READERS)}, and these in {', '.join(PACKED)}"
    return DataError(path, f"unknown ending {last!r}; expected one of {known}{ADVICE.get(last, '')}")


def frames(
    path: Path, prepare: Preparation = AS_IT_IS, reading: Reading | None = None
) -> Iterator[pl.DataFrame]:
    """Tables of ``user``, ``item`` (text), ``time`` (as the log has it), and what ``prepare`` needs besides.

    In file order, one after the other, a table a block of the file, so that a log of any size needs little
    memory. ``reading`` is told what was understood. Raises :class:`DataError` for a file that is missing, of
    an unknown ending, or malformed.
    """
    if not readable(path):
        raise refuse(path)
    try:
        inner, pieces = opened(path, READERS)
        yield from READERS[inner](Source(path, pieces, prepare, reading or Reading()))
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def read(path: Path, prepare: Preparation = AS_IT_IS) -> pl.DataFrame:
    """All of :func:`frames` as one table."""
    return pl.concat(frames(path, prepare))
