"""Parquet logs: a row an interaction."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from common.data.readers import table as tables
from common.data.readers.columns import find
from common.data.readers.source import Source
from common.errors import DataError

ROWS = 2_000_000
"""Interactions that are looked at together."""
EXACT = 2.0**53
"""Floats from here on skip whole numbers."""


def table(path: Path, columns: Sequence[str] | None = None, rows: int | None = None) -> pl.DataFrame:
    """The file, or some columns and the first rows of it.

    Raises :class:`DataError` where it is not Parquet or is cut short.
    """
    return _rows(path, path.read_bytes(), 0, rows, columns)


def _rows(
    file: object, data: bytes, start: int, rows: int | None, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    try:
        # Of bytes: a memory-mapped file that is cut short ends the process.
        scan = pl.scan_parquet(io.BytesIO(data)).slice(start, rows)
        return scan.select(pl.all() if columns is None else list(columns)).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(file, f"expected a complete Parquet file: {str(error).splitlines()[0]}") from error


def frames(source: Source) -> Iterator[pl.DataFrame]:
    """Read the columns that are needed, of any plain type.

    Ids are whole numbers, text, or the bytes of a UUID; times are numbers, dates or text. Lines in errors are
    rows from 1. The file's bytes are held, its columns ROWS rows at once. Raises :class:`DataError`.
    """
    file, data, start = source.file, b"".join(source.pieces), 0
    names = _rows(file, data, 0, 0).columns
    where = find(file, names, source.prepare)
    roles = {role: names[place] for role, place in where.items()}
    source.reading.format, source.reading.columns = "Parquet", roles
    source.reading.unread = [name for name in names if name not in roles.values()]
    while (raw := _rows(file, data, start, ROWS, list(roles.values()))).height or not start:
        if not raw.height:
            raise DataError(file, "no interactions")
        yield pl.DataFrame(
            [_column(file, role, raw[name], start).alias(role) for role, name in roles.items()]
        )
        start += raw.height


def _column(file: object, role: str, column: pl.Series, start: int) -> pl.Series:
    if role == "time":
        return _times(file, column, start)
    if role == "rating" and column.dtype.is_numeric():
        return column.cast(pl.Float64).fill_null(float("nan"))
    text = _text(file, column)
    found = tables.checked(file, {role: text}, {role: column.name}, lambda row: start + row + 1)
    return found.to_series()


def _text(file: object, column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        column = column.fill_nan(None)
        if (column.drop_nulls().abs() >= EXACT).any():
            raise DataError(
                file,
                "floats of 2^53 and more have lost digits; store ids as integers or text",
                None,
                column.name,
            )
        if (column.drop_nulls() % 1 == 0).all():
            column = column.cast(pl.Int64, strict=False)  # what pandas makes of whole numbers
    if isinstance(column.dtype, pl.Decimal) and (column.drop_nulls() % 1 == 0).all():
        return column.cast(pl.String).str.replace(r"\.0*$", "")
    if column.dtype == pl.Binary:
        return pl.Series(column.name, [_readable(one) for one in column], dtype=pl.String)
    if column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return column.cast(pl.String)
    raise DataError(file, f"expected whole numbers or text, found {column.dtype}", column=column.name)


def _readable(value: bytes | None) -> str | None:
    """Bytes as text; those of a UUID, and what is no text, as hexadecimal digits."""
    if value is None:
        return None
    try:
        text = value.decode()
        if text.isprintable():
            return text
    except UnicodeDecodeError:
        pass
    return str(uuid.UUID(bytes=value)) if len(value) == 16 else value.hex()


def _times(file: object, column: pl.Series, start: int) -> pl.Series:
    if column.dtype.is_temporal() and column.dtype not in (pl.Time, pl.Duration):
        seconds = column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    elif column.dtype.is_numeric():
        seconds = column.cast(pl.Float64)
    elif column.dtype in (pl.String, pl.Categorical, pl.Enum):
        text = {"time": column.cast(pl.String)}
        return tables.checked(file, text, {"time": column.name}, lambda row: start + row + 1)["time"]
    elif column.dtype == pl.Null:
        told = "expected numbers or dates, found empty fields alone"
        raise DataError(file, f"{told}; data.order=file takes the order of the file", column=column.name)
    else:
        raise DataError(file, f"expected numbers or dates, found {column.dtype}", column=column.name)
    bad = ~seconds.is_finite().fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        found = "an empty field" if column[row] is None else repr(column[row])
        told = f"expected a finite number or a date, found {found}"
        raise DataError(file, told, start + row + 1, column.name)
    return seconds
