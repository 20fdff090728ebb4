"""Logs with one interaction a line: what CSV, TSV, ``.inter`` and MovieLens files share.

Two ways through the same rules. Polars reads a clean file fast; whatever is not plainly clean is read
again line by line, and that second reading decides: it either accepts the file or names the line.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

import polars as pl

from common.data.readers.columns import Columns, find
from common.errors import DataError

BLANK = " \t"


def read(file: object, data: bytes, separator: str, header: tuple[str, ...] | None = None) -> pl.DataFrame:
    """Return columns ``user``, ``item`` (text) and, where the log has it, ``time`` (seconds), in file order.

    ``header`` names the columns of a file that has no header line. Raises :class:`DataError`.
    """
    text = decode(file, data)
    if not text.strip():
        raise DataError(file, "the file is empty; expected a line an interaction")
    frame = _fast(file, text, separator, header) if len(separator) == 1 else None
    if frame is None:
        frame = _careful(file, text, separator, header)
    if not frame.height:
        raise DataError(file, "no interactions after the header", line=1)
    return frame


def decode(file: object, data: bytes) -> str:
    """UTF-8 text with ``\\n`` endings; a byte that is not UTF-8 is named by its line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(file, f"byte 0x{data[error.start]:02x} is not UTF-8 text", line) from error
    return text.replace("\r\n", "\n")


def _fast(file: object, text: str, separator: str, header: tuple[str, ...] | None) -> pl.DataFrame | None:
    """The frame, or None if anything about the file asks for a closer look."""
    if '"' in text or "\r" in text or "\0" in text:
        return None
    lines = text.count("\n") + (not text.endswith("\n"))
    try:
        raw = pl.read_csv(
            text.encode(),
            separator=separator,
            has_header=False,
            quote_char=None,
            infer_schema=False,
            skip_rows=0 if header else 1,
        )
    except pl.exceptions.PolarsError:
        return None
    names = header or tuple(text.split("\n", 1)[0].split(separator))
    # Every line has to have become a row: never read a part without saying so.
    if raw.width != len(names) or raw.height != lines - (header is None):
        return None
    where = find(file, names)
    pick = [
        pl.nth(where.user).str.strip_chars(BLANK).alias("user"),
        pl.nth(where.item).str.strip_chars(BLANK).alias("item"),
    ]
    if where.time is not None:
        pick.append(pl.nth(where.time).cast(pl.Float64, strict=False).alias("time"))
    # A short line shows as a null in the last column: every column is looked at, used or not.
    if any(raw.null_count().row(0)):
        return None
    frame = raw.select(pick)
    sound = pl.all_horizontal(
        pl.col("user") != "",
        pl.col("item") != "",
        *([pl.col("time").is_finite()] if where.time is not None else []),
    )
    return frame if frame.select(sound.fill_null(False).all()).item() else None


def _careful(file: object, text: str, separator: str, header: tuple[str, ...] | None) -> pl.DataFrame:
    rows = _rows(file, text, separator)
    names = header or next(rows)[1]
    where = find(file, names)
    users: list[str] = []
    items: list[str] = []
    times: list[float] = []
    for line, fields in rows:
        if len(fields) != len(names):
            missing = f", {names[len(fields)]} is missing" if len(fields) < len(names) else ""
            raise DataError(file, f"expected {len(names)} fields, found {len(fields)}{missing}", line)
        users.append(_id(file, fields, where.user, names, line))
        items.append(_id(file, fields, where.item, names, line))
        if where.time is not None:
            times.append(_seconds(file, fields[where.time], line, names[where.time]))
    return _frame(users, items, times, where)


def _frame(users: list[str], items: list[str], times: list[float], where: Columns) -> pl.DataFrame:
    columns = {"user": pl.Series(users, dtype=pl.String), "item": pl.Series(items, dtype=pl.String)}
    if where.time is not None:
        columns["time"] = pl.Series(times, dtype=pl.Float64)
    return pl.DataFrame(columns)


def _rows(file: object, text: str, separator: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line number (from 1) and fields of every line that is not blank."""
    if len(separator) > 1:  # MovieLens' `::`, which knows no quotes
        for line, row in enumerate(text.split("\n"), start=1):
            if row.strip():
                yield line, tuple(row.split(separator))
        return
    lines = io.StringIO(text, newline="")
    if separator == ",":
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    start = 1
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield start, tuple(fields)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(file, f"not a {separator!r}-separated line: {error}", start) from error


def _id(file: object, fields: tuple[str, ...], index: int, names: tuple[str, ...], line: int) -> str:
    if text := fields[index].strip(BLANK):
        return text
    raise DataError(file, "expected an id, found an empty field", line, names[index])


def _seconds(file: object, text: str, line: int, column: str) -> float:
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(file, f"expected a finite number of seconds, found {text!r}", line, column)
    return value
