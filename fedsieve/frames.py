"""Logs that a program holds as a frame of Polars or pandas, read as a Parquet file of theirs would be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import polars as pl

from common.data import Dataset
from common.data.build import build
from common.data.cut import first
from common.data.readers import parquet
from common.data.readers.columns import find
from common.data.readers.source import Source
from common.errors import ConfigError, DataError, RunError
from common.preparation import Preparation, Reading
from server.records.begun import begun, in_vain
from server.records.checkpoint import write_atomically

CALLED = "frame"
"""What the log is called unless ``name`` says so."""
FILE = Path("log", "frame.parquet")
"""Where it lies in the folder of its run."""


def is_frame(given: object) -> TypeGuard[Any]:
    """Whether ``given`` is a frame, of Polars or, which is not imported, like one of pandas."""
    if isinstance(given, pl.DataFrame | pl.LazyFrame):
        return True
    return all(hasattr(given, name) for name in ("columns", "to_dict", "__getitem__"))


def dataset_of(given: Any, name: str, prepare: Preparation, devices: int = 0) -> Dataset:
    """The log in a frame; ``devices``: only the first so many. Raises DataError, and ConfigError."""
    reading = Reading()
    frames = parquet.frames(Source(name, [_packed(columns_of(given, name, prepare))], prepare, reading))
    reading.format = "a frame"
    return first(build(name, frames, source=name, prepare=prepare, reading=reading), devices)


def stored(given: Any, name: str, prepare: Preparation, folder: Path) -> str:
    """The path of a frame as a log in the run's ``folder``; that of a run that began must be the same.

    Raises RunError where it is another, and DataError for a frame that is no log.
    """
    frame, path = columns_of(given, name, prepare), (folder / FILE).absolute()
    if path.exists() and not (in_vain(folder) or _alone(path, folder)):
        if not frame.equals(parquet.table(path)):
            raise RunError(f"{folder} holds a run on another log; choose another folder")
        return str(path)
    if begun(folder) and not path.exists():
        raise RunError(f"{folder} holds something else, and no run on this log; choose another folder")
    dataset_of(given, name, prepare)  # a frame that cannot be read leaves nothing behind
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror or error}") from error
    write_atomically(path, _packed(frame))
    return str(path)


def _alone(path: Path, folder: Path) -> bool:
    """Whether ``folder`` has that file and no other: the log of a run that was refused."""
    return [one for one in folder.resolve().rglob("*") if not one.is_dir()] == [path.resolve()]


def columns_of(given: Any, name: str, prepare: Preparation) -> pl.DataFrame:
    """The columns of a frame that ``prepare`` needs, and no others, by their own names."""
    if prepare.numbered:
        raise ConfigError("data.columns: a frame has names; expected those, found positions")
    frame = given.collect() if isinstance(given, pl.LazyFrame) else given
    names = [str(one) for one in frame.columns]
    places = find(name, names, prepare, None).values()
    return pl.DataFrame([_column(name, names[place], frame[frame.columns[place]]) for place in places])


def _column(name: str, column: str, values: Any) -> pl.Series:
    """A column of a frame; of pandas by way of NumPy, a missing value as null. Raises DataError."""
    if isinstance(values, pl.Series) and values.dtype != pl.Object:
        return values.rename(column)
    if str(getattr(values, "dtype", "")).startswith("datetime64"):  # with a zone it would come as objects
        return pl.Series(column, np.asarray(values, dtype="datetime64[us]"))
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return pl.Series(column, array)
    found = array.tolist()
    try:
        found = [None if _missing(one) else one for one in found]
        return pl.Series(column, found, strict=True)
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        kinds = sorted({type(one).__name__ for one in found if one is not None})
        raise DataError(
            name, f"expected values of one type, found {', '.join(kinds)}", None, column
        ) from None


def _missing(value: object) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _packed(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
