"""From texts of the columns of a log to a table of ``user``, ``item``, ``time``, ``rating`` and ``event``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from common.data.readers import times
from common.errors import DataError

BLANK = " \t"


def ids(text: pl.Series) -> pl.Series:
    """Text without outer blanks; null where nothing is left."""
    bare = text.str.strip_chars(BLANK)
    return bare.set(bare == "", None)


def ratings(text: pl.Series) -> pl.Series:
    """Float64; NaN for a rating that is missing, null for text that is no number."""
    bare = text.str.strip_chars(BLANK)
    return bare.cast(pl.Float64, strict=False).set(bare.fill_null("") == "", float("nan"))


CONVERT: dict[str, tuple[Callable[[pl.Series], pl.Series], str]] = {
    "user": (ids, "an id"),
    "item": (ids, "an id"),
    "time": (times.parse, times.EXPECTED),
    "rating": (ratings, "a number"),
    "event": (lambda text: text.str.strip_chars(BLANK).fill_null(""), "text"),
}
"""Role -> what makes a column of its texts, null where that fails; and what it expects."""


def sound(columns: Mapping[str, pl.Series]) -> pl.DataFrame | None:
    """The table of texts by role; None where any is not what it should be."""
    made = [CONVERT[role][0](text).alias(role) for role, text in columns.items()]
    return None if any(one.null_count() for one in made) else pl.DataFrame(made)


def checked(
    file: object, columns: Mapping[str, pl.Series], names: Mapping[str, str], lines: Callable[[int], int]
) -> pl.DataFrame:
    """:func:`sound`, or a :class:`DataError` about the first row that is not; ``lines``: row -> its line."""
    made = {role: CONVERT[role][0](text) for role, text in columns.items()}
    bad = {role: int(one.is_null().arg_max() or 0) for role, one in made.items() if one.null_count()}
    if bad:
        role = min(bad, key=lambda one: bad[one])
        given, expected = columns[role][bad[role]], CONVERT[role][1]
        told = "an empty field" if role in ("user", "item") else repr(given if given is not None else "")
        raise DataError(file, f"expected {expected}, found {told}", lines(bad[role]), names[role])
    return pl.DataFrame([one.alias(role) for role, one in made.items()])
