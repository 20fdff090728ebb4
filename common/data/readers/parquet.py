"""Parquet logs: a row an interaction."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from common.data.readers.columns import find
from common.errors import DataError

ROWS = 2_000_000
"""Interactions that are looked at together."""


def table(path: Path, columns: Sequence[str] | None = None, rows: int | None = None) -> pl.DataFrame:
    """The file, or some columns and the first rows of it.

    Raises :class:`DataError` where it is not Parquet or is cut short.
    """
    return _rows(path, path.read_bytes(), 0, rows, columns)


def _rows(
    path: Path, data: bytes, start: int, rows: int | None, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    try:
        # Of bytes: a memory-mapped file that is cut short ends the process.
        scan = pl.scan_parquet(io.BytesIO(data)).slice(start, rows)
        return scan.select(columns or pl.all()).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(path, f"expected a complete Parquet file: {str(error).splitlines()[0]}") from error


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """Read user, item and optionally time columns of any plain type.

    Ids are whole numbers or text; times are seconds, or Parquet dates. Lines in errors are rows from 1.
    The file's bytes are held, its columns ROWS rows at once. Raises :class:`DataError`.
    """
    data, start = path.read_bytes(), 0
    while (raw := _rows(path, data, start, ROWS)).height or not start:
        where = find(path, raw.columns)
        if not raw.height:
            raise DataError(path, "no interactions")
        frame = pl.DataFrame(
            {"user": _ids(path, raw, where.user, start), "item": _ids(path, raw, where.item, start)}
        )
        if where.time is not None:
            frame = frame.with_columns(_seconds(path, raw, where.time, start).alias("time"))
        yield frame
        start += raw.height


def _ids(path: Path, raw: pl.DataFrame, index: int, start: int) -> pl.Series:
    column = raw.to_series(index)
    if column.dtype.is_float() and (column.drop_nulls() % 1 == 0).all():
        column = column.cast(pl.Int64, strict=False)  # what pandas makes of whole numbers
    if not (column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise DataError(path, f"expected whole numbers or text, found {column.dtype}", column=column.name)
    text = column.cast(pl.String).str.strip_chars(" \t")
    return _complete(path, text, text.is_null() | (text == ""), "an id", start)


def _seconds(path: Path, raw: pl.DataFrame, index: int, start: int) -> pl.Series:
    column = raw.to_series(index)
    if column.dtype.is_temporal() and column.dtype not in (pl.Time, pl.Duration):
        seconds = column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    elif column.dtype.is_numeric():
        seconds = column.cast(pl.Float64)
    else:
        raise DataError(path, f"expected seconds or dates, found {column.dtype}", column=column.name)
    return _complete(
        path, seconds, ~seconds.is_finite().fill_null(False), "a finite number of seconds", start
    )


def _complete(path: Path, column: pl.Series, bad: pl.Series, expected: str, start: int) -> pl.Series:
    row = bad.fill_null(True).arg_max()
    if row is not None and bad.fill_null(True)[row]:
        raise DataError(path, f"expected {expected}, found {column[row]!r}", start + row + 1, column.name)
    return column
