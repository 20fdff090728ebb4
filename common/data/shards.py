"""One Parquet log a node, for deployments, and reading them back with their numbers kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from common.data.cut import first, only
from common.data.names import Names, Titles
from common.data.ragged import Ragged
from common.data.readers import parquet
from common.data.types import Dataset
from common.errors import ConfigError, DataError

CATALOGUE = "catalogue.parquet"
Kinds = dict[str, type[pl.DataType]]


def write_shards(dataset: Dataset, nodes: int, out: Path) -> list[Path]:
    """Write ``node-000.parquet`` … and ``catalogue.parquet``; node k of K gets every K-th device from k.

    Logs have user, item, position and, where known, timestamp; users and items are numbers, so that no
    node learns an id of another. Each file appears whole or not at all, the catalogue first. Logs, and a
    folder made for them, are their owner's alone; the catalogue tells of no user.
    Raises :class:`ConfigError` if there are fewer devices than nodes or ``out`` holds logs of a larger split.
    """
    if not 1 <= nodes <= len(dataset):
        raise ConfigError(f"nodes: expected 1 to {len(dataset)} (devices of {dataset.name}), found {nodes}")
    names = [f"node-{node:03d}.parquet" for node in range(nodes)]
    if stale := sorted({path.name for path in out.glob("node-*.parquet")} - set(names)):
        raise ConfigError(f"{out}: holds {stale[0]} of a split into more nodes; choose another folder")
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(_catalogue(dataset), out / CATALOGUE, 0o644)
        for node, name in enumerate(names):
            _write(_log(dataset, range(node, len(dataset), nodes)), out / name, 0o600)
    except OSError as error:
        raise DataError(out, f"cannot be written: {error.strerror or error}") from error
    return [out / name for name in names]


def write_log(dataset: Dataset, out: Path, name: str) -> Path:
    """Write the log of one node and its catalogue beside it, as :func:`write_shards` does of many.

    Raises :class:`ConfigError` for a folder with another catalogue, :class:`DataError` where it cannot write.
    """
    beside = out / CATALOGUE
    if beside.exists() and not read_catalogue(beside)["id"].equals(Names.of(dataset.item_ids).column):
        raise ConfigError(f"{out}: holds another catalogue; choose another folder")
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(_catalogue(dataset), beside, 0o644)
        _write(_log(dataset, range(len(dataset))), out / name, 0o600)
    except OSError as error:
        raise DataError(out, f"cannot be written: {error.strerror or error}") from error
    return out / name


def _catalogue(dataset: Dataset) -> pl.DataFrame:
    size = dataset.num_items
    return pl.DataFrame(
        {
            "item": np.arange(1, size + 1, dtype=np.int32),
            "id": Names.of(dataset.item_ids).column,
            "title": Titles.of(dataset.titles, size).column.fill_null(""),
        }
    )


def _log(dataset: Dataset, rows: range) -> pl.DataFrame:
    own = only(dataset, rows)
    histories = own.sequences
    before = np.cumsum(histories.lengths) - histories.lengths
    columns = {
        "user": np.repeat(own.devices, histories.lengths),
        "item": histories.flat(),
        "position": (np.arange(int(histories.lengths.sum())) - np.repeat(before, histories.lengths)).astype(
            np.int32
        ),
    }
    if own.times is not None:
        columns["timestamp"] = own.times.flat()
    return pl.DataFrame(columns)


def _write(frame: pl.DataFrame, path: Path, mode: int) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".write-") as folder:
        work = Path(folder) / path.name
        work.touch(mode)  # which writing keeps
        frame.write_parquet(work)
        work.replace(path)


def is_shard(path: Path) -> bool:
    """Whether ``path`` is a Parquet log with a catalogue beside it."""
    return (
        path.suffix.lower() == ".parquet" and path.name != CATALOGUE and (path.parent / CATALOGUE).is_file()
    )


def read_catalogue(path: Path) -> pl.DataFrame:
    """Item number, id and title of every item of a split. Raises :class:`DataError`."""
    try:
        raw = parquet.table(path)
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
    catalogue = _columns(path, raw, {"item": pl.Int32, "id": pl.String, "title": pl.String})
    if not catalogue.height or (catalogue["item"].to_numpy() != np.arange(1, catalogue.height + 1)).any():
        raise DataError(path, "expected the numbers from 1 on without a gap", column="item")
    return catalogue


def read_shard(path: Path, devices: int = 0) -> Dataset:
    """Read a node's log; item and device numbers are those of the split, ``num_items`` the catalogue's.

    ``devices``: only so many, the first; the rows of the others are not decoded where the file is in order of
    devices, as :func:`write_shards` leaves it. Raises :class:`DataError` if numbers are out of range,
    positions repeat, or columns are not a split's.
    """
    catalogue = read_catalogue(path.parent / CATALOGUE)
    size = catalogue.height
    try:
        raw = parquet.table(path, rows=_wanted(path, devices))
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
    wanted: Kinds = {"user": pl.Int64, "item": pl.Int32, "position": pl.Int32}
    timed: Kinds = {"timestamp": pl.Float64} if "timestamp" in raw.columns else {}
    log = _columns(path, raw, {**wanted, **timed})
    if not log.height:
        raise DataError(path, "no interactions")
    _refuse(path, log, "user", pl.col("user") < 1, "a device number from 1")
    _refuse(path, log, "item", ~pl.col("item").is_between(1, size), f"an item of the catalogue, 1 to {size}")
    if timed:
        _refuse(path, log, "timestamp", ~pl.col("timestamp").is_finite(), "a finite number of seconds")
    log = _in_order(path, log)
    numbers, lengths = log["user"].rle().struct.unnest().select("value", "len")
    sequences: Ragged[np.int32] = Ragged.split(log["item"].to_numpy(writable=True), lengths.to_numpy())
    times = None
    if timed:
        times = Ragged.split(log["timestamp"].to_numpy(writable=True), sequences.lengths)
    whole = Dataset(
        name=path.stem,
        num_items=size,
        sequences=sequences,
        devices=numbers.to_numpy(writable=True),
        item_ids=Names.of(catalogue["id"]),
        user_ids=Names.of(numbers.cast(pl.String)),
        titles=titles_of(catalogue),
        times=times,
        source=path.name,
    )
    return first(whole, devices)


def _wanted(path: Path, devices: int) -> int | None:
    """Rows of the first ``devices`` devices, None for all: they are the first rows if devices ascend."""
    if not devices or "user" not in parquet.table(path, rows=0).columns:
        return None
    users = parquet.table(path, ["user"])["user"]
    if users.null_count() or not users.dtype.is_integer() or not users.is_sorted():
        return None
    return int(users.rle().struct.field("len").head(devices).sum())


def _in_order(path: Path, log: pl.DataFrame) -> pl.DataFrame:
    """Rows by user and position, of which no two are the same."""
    users, positions = log["user"].to_numpy(), log["position"].to_numpy()
    same = users[1:] == users[:-1]
    if (users[1:] >= users[:-1]).all() and (positions[1:] > positions[:-1])[same].all():
        return log
    _refuse(path, log, "position", pl.struct("user", "position").is_duplicated(), "one item a position")
    return log[np.lexsort((positions, users))]


def titles_of(catalogue: pl.DataFrame) -> Titles:
    """Item number -> title, of a table that :func:`read_catalogue` gave."""
    return Titles(catalogue.select(pl.when(pl.col("title") != "").then("title"))["title"])


def _columns(path: Path, raw: pl.DataFrame, wanted: Kinds) -> pl.DataFrame:
    for name, kind in wanted.items():
        if raw.schema.get(name) != kind:
            found = raw.schema.get(name, "no such column")
            raise DataError(
                path,
                f"expected {kind.__name__} as `fedsieve data split` writes it, found {found}",
                column=name,
            )
        if raw[name].null_count():
            raise DataError(path, "expected a value", (raw[name].is_null().arg_max() or 0) + 1, name)
    return raw.select(list(wanted))


def _refuse(path: Path, log: pl.DataFrame, column: str, bad: pl.Expr, expected: str) -> None:
    hits = log.select(bad.alias("bad"))["bad"]
    if hits.any():
        row = hits.arg_max() or 0
        raise DataError(path, f"expected {expected}, found {log[column][row]}", row + 1, column)
