"""Logs with one interaction a line: what CSV, TSV, ``.inter`` and MovieLens files share.

Two ways through the same rules. Polars reads a clean block of lines fast; whatever is not plainly clean is
read again line by line, and that second reading decides: it either accepts the block or names the line.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import polars as pl

from common.data.readers.blocks import texts
from common.data.readers.columns import Columns, find
from common.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")
"""RecBole's."""
BLANK = " \t"
ROWS = 500_000
"""Interactions of a table of the careful reading."""
Names = tuple[str, ...]


def frames(
    file: object, pieces: Iterable[bytes], separator: str, header: Names | None = None, typed: bool = False
) -> Iterator[pl.DataFrame]:
    """Tables of ``user``, ``item`` (text) and, where the log has it, ``time`` (seconds), in file order.

    ``pieces`` are the file's bytes. ``header`` names the columns of a file that has no header line;
    ``typed``: every name of the header has a RecBole type. Raises :class:`DataError`.
    """
    blocks, names, height = texts(file, pieces), header, 0
    for line, text in blocks:
        if names is None and text.strip():
            names, line, text = _header(file, line, text, separator)
            _check_types(file, names or (), typed)
        if names is None or not text.strip():
            continue
        for table in _tables(file, line, text, blocks, separator, names):
            height += table.height
            yield table
    if names is None or (names is header and not height):
        raise DataError(file, "the file is empty; expected a line an interaction")
    if not height:
        raise DataError(file, "no interactions after the header", line=1)


def _tables(
    file: object, line: int, text: str, blocks: Iterator[tuple[int, str]], separator: str, names: Names
) -> Iterator[pl.DataFrame]:
    """The tables of one block; of all that follow too where a field in quotes may go on in the next."""
    if (table := _fast(file, text, separator, names)) is not None:
        yield table
        return
    whole = chain([text], (more for _, more in blocks)) if separator == "," and '"' in text else [text]
    lines = chain.from_iterable(io.StringIO(one, newline="") for one in whole)
    yield from _careful(file, lines, line, separator, names)


def _header(file: object, line: int, text: str, separator: str) -> tuple[Names | None, int, str]:
    """The fields of the first line that is not blank, or None; and the text after it with its line."""
    lines = io.StringIO(text, newline="")
    _, names = next(_rows(file, lines, line, separator), (line, None))
    end = lines.tell()
    return names, line + sum(1 for _ in io.StringIO(text[:end], newline="")), text[end:]


def _check_types(file: object, names: Names, typed: bool) -> None:
    for name in names if typed else ():
        if name.rpartition(":")[2] not in TYPES or ":" not in name:
            raise DataError(file, f"expected name:type with a type of {', '.join(TYPES)}", 1, name)


def _fast(file: object, text: str, separator: str, names: Names) -> pl.DataFrame | None:
    """The table, or None if anything about the text asks for a closer look."""
    if (separator == "," and '"' in text) or "\r" in text or "\0" in text:
        return None
    if len(separator) > 1:  # one character is what Polars can split at
        if "\t" in text:
            return None
        text, separator = text.replace(separator, "\t"), "\t"
    try:
        raw = pl.read_csv(
            text.encode(), separator=separator, has_header=False, quote_char=None, infer_schema=False
        )
    except pl.exceptions.PolarsError:
        return None
    # Every line has to have become a row: never read a part without saying so.
    if raw.width != len(names) or raw.height != text.count("\n") + (not text.endswith("\n")):
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


def _careful(
    file: object, lines: Iterable[str], line: int, separator: str, names: Names
) -> Iterator[pl.DataFrame]:
    """Tables of at most ROWS interactions; ``line`` numbers the first. Raises :class:`DataError`."""
    where, rows = find(file, names), _rows(file, lines, line, separator)
    while True:
        users: list[str] = []
        items: list[str] = []
        times: list[float] = []
        for number, fields in islice(rows, ROWS):
            if len(fields) != len(names):
                missing = f", {names[len(fields)]} is missing" if len(fields) < len(names) else ""
                raise DataError(file, f"expected {len(names)} fields, found {len(fields)}{missing}", number)
            users.append(_id(file, fields, where.user, names, number))
            items.append(_id(file, fields, where.item, names, number))
            if where.time is not None:
                times.append(_seconds(file, fields[where.time], number, names[where.time]))
        if not users:
            return
        yield _frame(users, items, times, where)


def _frame(users: list[str], items: list[str], times: list[float], where: Columns) -> pl.DataFrame:
    columns = {"user": pl.Series(users, dtype=pl.String), "item": pl.Series(items, dtype=pl.String)}
    if where.time is not None:
        columns["time"] = pl.Series(times, dtype=pl.Float64)
    return pl.DataFrame(columns)


def _rows(file: object, lines: Iterable[str], line: int, separator: str) -> Iterator[tuple[int, Names]]:
    """The number and the fields of every line that is not blank; ``line`` is the number of the first."""
    if len(separator) > 1:  # MovieLens' `::`, which knows no quotes
        for number, row in enumerate(lines, start=line):
            if row.strip():
                yield number, tuple(row.removesuffix("\n").split(separator))
        return
    if separator == ",":
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    start = line
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield start, tuple(fields)
            start = line + reader.line_num
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
