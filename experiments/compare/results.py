"""The tidy tables of a grid: one row a cell."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from experiments.compare.work import ROW
from server.records.checkpoint import write_atomically

Row = Mapping[str, Any]


def write_results(folder: Path, rows: Sequence[Row]) -> None:
    """``results.csv`` and ``results.parquet``; a row's columns that others lack are empty there."""
    names = list(dict.fromkeys(name for one in rows for name in one))
    table = pl.DataFrame([{name: one.get(name) for name in names} for one in rows], infer_schema_length=None)
    write_atomically(folder / "results.csv", table.write_csv().encode())
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_atomically(folder / "results.parquet", buffer.getvalue())


def read_row(cell: Path) -> dict[str, Any] | None:
    """The row of a finished cell; None for one that has not ended."""
    path = cell / ROW
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
