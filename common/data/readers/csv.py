"""Comma-separated logs with a header line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from common.data.readers import blocks, delimited


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """Read ``user,item[,timestamp]`` in any order of columns; see :func:`delimited.frames`."""
    return delimited.frames(path, blocks.of(path), ",")
