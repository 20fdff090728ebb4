"""GroupLens' own files, which have no header line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from common.data.readers import blocks, delimited

HEADER = ("user", "item", "rating", "timestamp")


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """Read ``u.data`` (tabs) or ``ratings.dat`` (``::``)."""
    return parse(path, blocks.of(path))


def parse(file: object, pieces: Iterable[bytes]) -> Iterator[pl.DataFrame]:
    """Read their content; the separator is the one that the first line has."""
    rest = iter(pieces)
    first = next(rest, b"")
    separator = "::" if b"::" in first.split(b"\n", 1)[0] else "\t"
    return delimited.frames(file, chain([first], rest), separator, HEADER)


def titles(data: bytes) -> dict[str, str]:
    """Item id -> title from ``u.item`` (``|``) or ``movies.dat`` (``::``), both Latin-1."""
    rows = data.decode("latin-1").splitlines()
    separator = "::" if rows and "::" in rows[0] else "|"
    pairs = (row.split(separator) for row in rows if row.strip())
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}
