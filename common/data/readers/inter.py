"""RecBole's atomic interaction files: tab-separated, ``name:type`` in the header."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from common.data.readers import delimited
from common.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")


def read(path: Path) -> pl.DataFrame:
    """Read a ``.inter`` file."""
    return parse(path, path.read_bytes())


def parse(file: object, data: bytes) -> pl.DataFrame:
    """Read the content of a ``.inter`` file; every header field must carry its type.

    Raises :class:`DataError`.
    """
    first = delimited.decode(file, data).split("\n", 1)[0]
    for name in first.split("\t") if first else ():
        if name.rpartition(":")[2] not in TYPES or ":" not in name:
            raise DataError(file, f"expected name:type with a type of {', '.join(TYPES)}", 1, name)
    return delimited.read(file, data, "\t")
