"""Times as a log writes them: numbers of any unit, ISO dates, with or without a time of day and a zone."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from common.errors import DataError

DATE = (
    r"^(?<y>\d{4})(?:-|/)(?<m>\d{1,2})(?:-|/)(?<d>\d{1,2})"
    r"(?:[T ](?<H>\d{1,2}):(?<M>\d{2})(?::(?<S>\d{2}(?:[.,]\d{1,9})?))?)?"
    r"\s*(?:Z|UTC|(?<zone>[+-]\d{2}:?\d{2}))?$"
)
EXPECTED = "a finite number (seconds, ms, µs) or an ISO date such as 2026-11-28T22:16:33"
UNITS = {"s": 1.0, "ms": 1e3, "µs": 1e6, "ns": 1e9}
LARGEST = {"s": 1e11, "ms": 1e14, "µs": 1e17, "ns": np.inf}
"""Of each unit: the year 5138. A clock of the next one has passed it since 1973."""
PLAUSIBLE = 3e8, 1e10
"""Seconds of a clock from 1979 to 2286."""


def parse(text: pl.Series) -> pl.Series:
    """Float64 of each text: a number as it is, a date in seconds since 1970 (UTC where it names no zone).

    Null for what is neither, or not finite.
    """
    bare = text.str.strip_chars(" \t")
    numbers = bare.cast(pl.Float64, strict=False)
    numbers = numbers.set(~numbers.is_finite().fill_null(True), None)
    if not numbers.null_count():
        return numbers
    rows = numbers.is_null().arg_true()
    return numbers.scatter(rows, _dates(bare.gather(rows)))


def _dates(text: pl.Series) -> pl.Series:
    found = text.str.extract_groups(DATE).struct.unnest()
    day = pl.concat_str("y", "m", "d", separator="-").str.to_date("%Y-%m-%d", strict=False)
    hours, minutes = (pl.col(name).cast(pl.Float64).fill_null(0.0) for name in "HM")
    seconds = pl.col("S").str.replace(",", ".", literal=True).cast(pl.Float64).fill_null(0.0)
    digits = pl.col("zone").str.replace(":", "", literal=True)
    sign = pl.when(digits.str.starts_with("-")).then(-1.0).otherwise(1.0)
    offset = digits.str.slice(1, 2).cast(pl.Float64) * 3600 + digits.str.slice(3, 2).cast(pl.Float64) * 60
    clock = day.cast(pl.Int32).cast(pl.Float64) * 86400 + hours * 3600 + minutes * 60 + seconds
    valid = (hours < 24) & (minutes < 60) & (seconds < 61)
    return found.select(pl.when(valid).then(clock - (sign * offset).fill_null(0.0)).alias("t"))["t"]


def in_seconds(source: object, times: NDArray[np.float64]) -> str:
    """Turn ``times`` [n] of a whole log into seconds, in place, and return the unit that they had.

    The largest tells the unit. Raises :class:`DataError` where others have a smaller one.
    """
    largest = max(abs(float(times.max(initial=0))), abs(float(times.min(initial=0))))
    unit = next(name for name, limit in LARGEST.items() if largest < limit)
    for other, factor in UNITS.items():
        if other == unit:
            break
        low, high = (bound * factor for bound in PLAUSIBLE)
        if (hit := (times >= low) & (times < high)).any():
            row = int(hit.argmax())
            raise DataError(
                source,
                f"times in {unit} (up to {largest:.0f}) and in {other} (interaction {row + 1}: "
                f"{times[row]:.0f}) in one column; write them in one unit, or take the file's order with "
                "data.order=file",
            )
    if unit != "s":
        times /= UNITS[unit]
    return unit
