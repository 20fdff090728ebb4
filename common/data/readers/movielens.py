"""GroupLens' own files, which have no header line."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from common.data.readers import delimited

HEADER = ("user", "item", "rating", "timestamp")


def read(path: Path) -> pl.DataFrame:
    """Read ``u.data`` (tabs) or ``ratings.dat`` (``::``)."""
    return parse(path, path.read_bytes())


def parse(file: object, data: bytes) -> pl.DataFrame:
    """Read their content; the separator is the one that the first line has."""
    double = b"::" in data.split(b"\n", 1)[0]
    if double and b"\t" not in data:  # one character is what the fast reader can split at
        return delimited.read(file, data.replace(b"::", b"\t"), "\t", HEADER)
    return delimited.read(file, data, "::" if double else "\t", HEADER)


def titles(data: bytes) -> dict[str, str]:
    """Item id -> title from ``u.item`` (``|``) or ``movies.dat`` (``::``), both Latin-1."""
    rows = data.decode("latin-1").splitlines()
    separator = "::" if rows and "::" in rows[0] else "|"
    pairs = (row.split(separator) for row in rows if row.strip())
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}
