"""RecBole's atomic interaction files: tab-separated, ``name:type`` in the header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from common.data.readers import blocks, delimited


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """Read a ``.inter`` file."""
    return parse(path, blocks.of(path))


def parse(file: object, pieces: Iterable[bytes]) -> Iterator[pl.DataFrame]:
    """Read the content of a ``.inter`` file; every header field must carry its type.

    Raises :class:`DataError`.
    """
    return delimited.frames(file, pieces, "\t", typed=True)
