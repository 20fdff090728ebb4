"""JSON lines: an object a line, an interaction an object; and the same as Python writes a dict."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from common.data.readers import table
from common.data.readers.columns import find
from common.data.readers.source import Source
from common.errors import DataError

ROWS = 500_000
"""Interactions of a table."""
PYTHON = ("{u'", '{u"', "{'")
"""What a line starts with that is no JSON."""


def frames(source: Source) -> Iterator[pl.DataFrame]:
    """Read ``{"user_id": …, "item_id": …, "timestamp": …}`` a line; the first line names the columns.

    A file whose first line is a dict in Python's notation, as ``{u'user_id': u'…'}`` (Steam, Amazon before
    2014), is read so; only literals are. Numbers of JSON keep the digits that the file has.
    Raises :class:`DataError`.
    """
    file, parse, called = source.file, _object, "JSON lines"
    names: dict[str, str] = {}
    texts: dict[str, list[str | None]] = {}
    lines: list[int] = []

    def made() -> pl.DataFrame:
        columns = {role: pl.Series(texts[role], dtype=pl.String) for role in texts}
        return table.checked(file, columns, names, lines.__getitem__)

    for start, text in source.texts():
        for line, row in enumerate(text.split("\n"), start=start):
            if not row.strip():
                continue
            if not names and row.lstrip().startswith(PYTHON):
                parse, called = _literal, "Python dicts, one a line"
            entry = parse(file, row, line)
            if not names:
                header = list(entry)
                names = {role: header[at] for role, at in find(file, header, source.prepare, line).items()}
                texts = {role: [] for role in names}
                source.reading.format = f"{called}{source.reading.format}"
                source.reading.columns = names
                source.reading.unread = [name for name in header if name not in names.values()]
            for role, name in names.items():
                texts[role].append(_text(file, entry.get(name), line, name))
            lines.append(line)
            if len(lines) == ROWS:
                yield made()
                texts = {role: [] for role in names}
                lines.clear()
    if lines:
        yield made()
    elif not names:
        raise DataError(file, "the file is empty; expected an object a line")


def _object(file: object, row: str, line: int) -> dict[str, Any]:
    try:
        entry = json.loads(row, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(
            file, f"expected one JSON object a line; no JSON{where}: {row[:40]!r}", line
        ) from error
    if not isinstance(entry, dict):
        raise DataError(
            file, f"expected one JSON object a line, found {type(entry).__name__}; no array of all", line
        )
    return entry


def _literal(file: object, row: str, line: int) -> dict[str, Any]:
    try:
        entry = ast.literal_eval(row.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(
            file, f"expected one Python dict a line, as the first is; {row[:40]!r}", line
        ) from error
    if not isinstance(entry, dict):
        raise DataError(file, f"expected one Python dict a line, found {type(entry).__name__}", line)
    return {str(name): value for name, value in entry.items()}


def _text(file: object, value: object, line: int, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):  # of a Python dict
        return repr(value)
    shown = json.dumps(value, default=str)
    raise DataError(file, f"expected text or a number, found {shown[:40]}", line, name)
