"""Logs with one interaction a line: what CSV, TSV, ``.inter`` and MovieLens files share.

Two ways through the same rules. Polars reads a clean block of lines fast; whatever is not plainly clean is
read again line by line, and that second reading decides: it either accepts the block or names the line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice

import polars as pl

from common.data.readers import table, times
from common.data.readers.columns import find, recognised
from common.data.readers.source import Source
from common.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")
"""RecBole's."""
SEPARATORS = (",", ";", "\t", "|", "::")
QUOTED = (",", ";", "|")
"""Those beside which a field may stand in quotes; tabs and ``::`` know none."""
TABS = ("\t", "::")
"""Of the files of GroupLens, which have no header line."""
SHOWN = {"\t": "tabs", ",": "commas", ";": "semicolons"}
ROWS = 500_000
"""Interactions of a table of the careful reading."""
Names = tuple[str, ...]


def frames(
    source: Source, usual: str = ",", header: Names | None = None, typed: bool = False
) -> Iterator[pl.DataFrame]:
    """Tables of ``user``, ``item`` (text) and of the other roles that are read, in file order.

    The separator is the one by which the first line names a user and an item; ``usual`` is tried first.
    ``header`` names the columns of a file whose first line is none; ``typed``: every name has a RecBole type.
    Raises :class:`DataError`.
    """
    file, height, names, separator = source.file, 0, None, usual
    blocks = source.texts()
    for line, text in blocks:
        if names is None and text.strip():
            names, separator, line, text = _header(source, line, text, usual, header)
            for name in names if typed else ():
                if name.rpartition(":")[2] not in TYPES or ":" not in name:
                    raise DataError(file, f"expected name:type with a type of {', '.join(TYPES)}", 1, name)
            where = find(file, names, source.prepare)
            source.reading.format = (
                f"fields separated by {SHOWN.get(separator, separator)}{source.reading.format}"
            )
            source.reading.columns = {role: names[place] for role, place in where.items()}
            source.reading.unread = [name for i, name in enumerate(names) if i not in where.values()]
        if names is None or not text.strip():
            continue
        for some in _tables(file, line, text, blocks, separator, names, where):
            height += some.height
            yield some
    if names is None:
        raise DataError(file, "the file is empty; expected a line an interaction")
    if not height:
        raise DataError(file, "no interactions after the header", line=1)


def split(line: str, separator: str) -> Names:
    """The fields of one line; of one that quotes break, what is between separators."""
    try:
        return next((fields for _, fields in _rows("", [line], 1, separator)), ())
    except DataError:
        return tuple(line.split(separator))


def separator_of(line: str, usual: str, source: Source) -> str:
    """The separator by which ``line`` names a user and an item, else the one that it has most of."""
    parted = {one: split(line, one) for one in (usual, *SEPARATORS)}
    able = [one for one, fields in parted.items() if recognised(fields, source.prepare)]
    if able and not source.prepare.numbered:
        return able[0]
    return max(parted, key=lambda one: len(parted[one]))


def _header(
    source: Source, line: int, text: str, usual: str, fixed: Names | None
) -> tuple[Names, str, int, str]:
    """Names of the columns, the separator, and the text after the header with its line."""
    lines, skipped = io.StringIO(text, newline=""), 0
    while not (first := lines.readline()).strip():
        skipped += len(first)
        line += 1
    text = text[skipped:]
    separator = separator_of(first.strip("\r\n"), usual, source)
    fields = split(first.strip("\r\n"), separator)
    if source.prepare.numbered:
        return tuple(str(n) for n in range(1, len(fields) + 1)), separator, line, text
    if not recognised(fields, source.prepare):
        if separator in TABS and not source.prepare.columns and len(fields) == len(fixed or ()):
            return tuple(fixed or ()), separator, line, text
        _refuse_data(source.file, fields, line)
    lines = io.StringIO(text, newline="")
    _, names = next(_rows(source.file, lines, line, separator))
    end = lines.tell()
    return names, separator, line + sum(1 for _ in io.StringIO(text[:end], newline="")), text[end:]


def _refuse_data(file: object, fields: Names, line: int) -> None:
    """Raises :class:`DataError` where the first line looks like an interaction, not like names."""
    if any(value is not None for value in times.parse(pl.Series(fields, dtype=pl.String))):
        time = f", time: {len(fields)}" if len(fields) > 2 else ""
        raise DataError(
            file,
            f"expected a header line with names, found {', '.join(fields)[:80]}; for a file without one give "
            f"the positions of its columns, as in data.columns={{user: 1, item: 2{time}}}",
            line,
        )


def _tables(
    file: object,
    line: int,
    text: str,
    blocks: Iterator[tuple[int, str]],
    separator: str,
    names: Names,
    where: Mapping[str, int],
) -> Iterator[pl.DataFrame]:
    """The tables of one block; of all that follow too where a field in quotes may go on in the next."""
    if (found := _fast(text, separator, names, where)) is not None:
        yield found
        return
    quoted = separator in QUOTED and '"' in text
    whole = chain([text], (more for _, more in blocks)) if quoted else [text]
    lines = chain.from_iterable(io.StringIO(one, newline="") for one in whole)
    yield from _careful(file, lines, line, separator, names, where)


def _fast(text: str, separator: str, names: Names, where: Mapping[str, int]) -> pl.DataFrame | None:
    """The table, or None if anything about the text asks for a closer look."""
    if (separator in QUOTED and '"' in text) or "\r" in text or "\0" in text:
        return None
    if len(separator) > 1:  # one character is what Polars can split at
        if "\t" in text:
            return None
        text, separator = text.replace(separator, "\t"), "\t"
    try:
        raw = pl.read_csv(
            text.encode(),
            separator=separator,
            has_header=False,
            quote_char=None,
            infer_schema=False,
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        return None
    # Every line has to have become a row of as many fields: never read a part without saying so.
    if raw.width != len(names) or raw.height != text.count("\n") + (not text.endswith("\n")):
        return None
    if text.count(separator) != raw.height * (raw.width - 1):
        return None
    return table.sound({role: raw.to_series(place) for role, place in where.items()})


def _careful(
    file: object, lines: Iterable[str], line: int, separator: str, names: Names, where: Mapping[str, int]
) -> Iterator[pl.DataFrame]:
    """Tables of at most ROWS interactions; ``line`` numbers the first. Raises :class:`DataError`."""
    rows = _rows(file, lines, line, separator)
    called = {role: names[place] for role, place in where.items()}
    while True:
        kept: list[Names] = []
        numbers: list[int] = []
        problem = None
        try:
            for number, fields in islice(rows, ROWS):
                if len(fields) != len(names):
                    missing = f", {names[len(fields)]} is missing" if len(fields) < len(names) else ""
                    told = f"expected {len(names)} fields, found {len(fields)}{missing}"
                    raise DataError(file, told, number)
                kept.append(fields)
                numbers.append(number)
        except DataError as error:
            problem = error  # of the lines before it one may be wrong too, and the first is told
        texts = {
            role: pl.Series([row[place] for row in kept], dtype=pl.String) for role, place in where.items()
        }
        found = table.checked(file, texts, called, numbers.__getitem__)
        if problem is not None:
            raise problem
        if not kept:
            return
        yield found


def _rows(file: object, lines: Iterable[str], line: int, separator: str) -> Iterator[tuple[int, Names]]:
    """The number and the fields of every line that is not blank; ``line`` is the number of the first."""
    if len(separator) > 1:  # MovieLens' `::`, which knows no quotes
        for number, row in enumerate(lines, start=line):
            if row.strip():
                yield number, tuple(row.removesuffix("\n").split(separator))
        return
    if separator in QUOTED:
        reader = csv.reader(lines, delimiter=separator, strict=True)
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


csv_frames = partial(frames, usual=",")
tsv_frames = partial(frames, usual="\t")
