"""RecBole's atomic interaction files: tab-separated, ``name:type`` in the header."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from common.data.readers import delimited
from common.data.readers.source import Source


def frames(source: Source) -> Iterator[pl.DataFrame]:
    """Read a ``.inter`` file; every header field must carry its type. Raises :class:`DataError`."""
    return delimited.frames(source, "\t", typed=True)
