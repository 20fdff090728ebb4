"""GroupLens' own files, which have no header line."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import polars as pl

from common.data.readers import delimited
from common.data.readers.source import Source

HEADER = ("user", "item", "rating", "timestamp")


def frames(source: Source) -> Iterator[pl.DataFrame]:
    """Read ``u.data`` (tabs) or ``ratings.dat`` (``::``); with a header line any table."""
    return delimited.frames(source, "\t", HEADER)


def titles(data: bytes) -> dict[str, str]:
    """Item id -> title from ``u.item`` (``|``) or ``movies.dat`` (``::``), or ``movies.csv``."""
    if data.startswith(b"movieId,"):
        table = csv.reader(data.decode("utf-8", "replace").splitlines()[1:])
        return {row[0]: row[1] for row in table if len(row) > 1}
    rows = data.decode("latin-1").splitlines()
    separator = "::" if rows and "::" in rows[0] else "|"
    pairs = (row.split(separator) for row in rows if row.strip())
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}
