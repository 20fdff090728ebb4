"""Tab-separated logs with a header line; quotes are ordinary characters."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from common.data.readers import delimited


def read(path: Path) -> pl.DataFrame:
    """Read ``user<TAB>item[<TAB>timestamp]`` in any order of columns; see :func:`delimited.read`."""
    return delimited.read(path, path.read_bytes(), "\t")
