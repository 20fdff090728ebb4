"""A large log, prepared once: numbered, in order, in Parquet files beside its source.

The folder ``NAME-KEY.prepared`` lies beside the log, or in the cache folder where that cannot be written. KEY
is two hashes, of the log's bytes with the version of the preparation, and of how it is to be read, so another
log never has it. It holds::

    index.json        version, key, a hash of every file, devices and interactions of every part, the reading
    items.parquet     id, title (or null) of the items 1, 2, …
    devices.parquet   id, length of the devices 1, 2, …
    part-000.parquet  item, time of the first devices, in order; and so on

A file whose hash is another is damaged: the log is prepared anew. As parts hold whole devices in their order,
the first devices of a log are read without the others.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import polars as pl

from common.data import readers
from common.data.build import build
from common.data.cut import first
from common.data.folders import cache_folder
from common.data.names import Names, Titles
from common.data.ragged import Ragged
from common.data.types import Dataset
from common.errors import DataError
from common.preparation import AS_IT_IS, Preparation, Reading

VERSION = 2
"""Of what a file below means, and of how a log is read, numbered and put in order."""

SMALL = 16 << 20
"""Bytes below which a log is read faster than it is worth a cache."""

PACKS = 8
"""A packed log is about so many times as large."""

INDEX, ITEMS, DEVICES = "index.json", "items.parquet", "devices.parquet"

_OPEN: WeakValueDictionary[tuple[object, ...], Dataset] = WeakValueDictionary()
"""Large logs that this process holds: the nodes of an emulation share one."""


Make = Callable[[Path, Preparation], Dataset]
"""What reads a whole file."""


def read(
    path: Path,
    devices: int = 0,
    cache: Path | None = None,
    prepare: Preparation = AS_IT_IS,
    make: Make | None = None,
    name: str = "",
) -> Dataset:
    """The log in the file ``path``, from its cache if it has one; ``devices``: only so many, the first.

    ``make`` reads a file that its ending does not tell how to read; ``name`` is what its log is called.
    The first reading of a log reads all of it, as any line may hold a user or an item that the numbers of
    the others depend on. Raises :class:`DataError`.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
    if make is None and not readers.readable(path):
        raise readers.refuse(path)
    packed = bool(readers.ending(path)[1])
    make = make or _built
    if state.st_size < (SMALL // PACKS if packed else SMALL):
        return first(make(path, prepare), devices)
    same = (path.resolve(), state.st_size, state.st_mtime_ns, state.st_ino, devices, prepare, name)
    if (log := _OPEN.get(same)) is None:
        log = _read_large(path, devices, cache, prepare, make, name)
        log = _OPEN[same] = replace(log, name=name) if name else log
    return log


def name_of(path: Path) -> str:
    """What the log in ``path`` is called: ``log`` of log.csv.gz."""
    return Path(path.stem).stem if readers.ending(path)[1] else path.stem


def _built(path: Path, prepare: Preparation) -> Dataset:
    reading = Reading()
    frames = readers.frames(path, prepare, reading)
    return build(name_of(path), frames, source=path.name, prepare=prepare, reading=reading)


def _read_large(
    path: Path,
    devices: int,
    cache: Path | None,
    prepare: Preparation,
    make: Make,
    name: str,
) -> Dataset:
    key = _key(path, prepare, name)
    folders = [path.parent, cache_folder(cache) / "prepared"]
    places = [folder / f"{path.name}-{key}.prepared" for folder in folders]
    for place in places:
        if (log := _opened(place, path, key, devices)) is not None:
            return log
    whole = make(path, prepare)
    if _key(path, prepare, name) != key:  # written to meanwhile
        return first(whole, devices)
    for place in places:
        with suppress(OSError, pl.exceptions.PolarsError):
            _keep(whole, place, key)
            if place.parent == path.parent:
                _forget_others(path, key)
            break
    return first(whole, devices)


def _forget_others(path: Path, key: str) -> None:
    """Remove the caches of the log as it was: beside it, and of other bytes than those of ``key``."""
    cache = re.compile(re.escape(path.name) + r"-([0-9a-f]{24})(-[0-9a-f]{12})?\.prepared")
    for other in path.parent.iterdir():
        found = cache.fullmatch(other.name)
        if found and found[1] != key.partition("-")[0]:
            shutil.rmtree(other, ignore_errors=True)


def _key(path: Path, prepare: Preparation, name: str) -> str:
    """Two hashes: of the log's bytes, and of how they are read."""
    try:
        with path.open("rb") as file:
            content = file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
    same = blake2b(f"{VERSION} {content}".encode(), digest_size=12).hexdigest()
    way = f"{name}{''.join(readers.ending(path))} {prepare.text()}"
    return f"{same}-{blake2b(way.encode(), digest_size=6).hexdigest()}"


def _keep(log: Dataset, place: Path, key: str) -> None:
    """Write the folder ``place``: whole or not at all, for the owner of the process alone."""
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=place.parent, prefix=".prepare-"))  # mode 0700
    try:
        items = {"id": Names.of(log.item_ids).column, "title": Titles.of(log.titles, log.num_items).column}
        lengths = log.sequences.lengths
        users = {"id": Names.of(log.user_ids).column, "length": lengths}
        hashes = {ITEMS: _write(items, work / ITEMS), DEVICES: _write(users, work / DEVICES)}
        parts, start = [], 0
        for number, some in enumerate(log.sequences.chunks()):
            end = start + len(some)
            columns: dict[str, Any] = {"item": some.flat()}
            if log.times is not None:
                columns["time"] = log.times[start:end].flat()
            name, start = f"part-{number:03d}.parquet", end
            hashes[name] = _write(columns, work / name)
            parts.append((name, len(some), int(some.lengths.sum())))
        index = {"version": VERSION, "key": key, "parts": parts, "hashes": hashes}
        index["reading"] = asdict(log.reading)
        (work / INDEX).write_text(json.dumps(index), encoding="utf-8")
        if place.exists():  # damaged, or another process was faster
            if _opened(place, place, key, 0) is not None:
                return
            shutil.rmtree(place)
        work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(columns: dict[str, Any], path: Path) -> str:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)
    path.write_bytes(buffer.getbuffer())
    return blake2b(buffer.getbuffer()).hexdigest()


def _opened(place: Path, path: Path, key: str, devices: int) -> Dataset | None:
    """The log of a folder, None where there is none that is whole."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError):
        index = json.loads((place / INDEX).read_text(encoding="utf-8"))
        if (index["version"], index["key"]) == (VERSION, key):
            return _assembled(place, path, index, devices)
    return None


def _assembled(place: Path, path: Path, index: dict[str, Any], devices: int) -> Dataset:
    """Raises ValueError where a file is not what the index says."""
    items, users = (_table(place / name, index["hashes"][name]) for name in (ITEMS, DEVICES))
    users = users.head(devices or len(users))
    lengths = users["length"].to_numpy().astype(np.int64)
    total, start = int(lengths.sum()), 0
    values, seconds = np.empty(total, dtype=np.int32), None
    for table in _parts(place, index, len(users)):
        end = min(start + len(table), total)
        values[start:end] = table["item"].to_numpy()[: end - start]
        if "time" in table.columns:
            seconds = np.empty(total, dtype=np.float64) if seconds is None else seconds
            seconds[start:end] = table["time"].to_numpy()[: end - start]
        start = end
    if start != total:
        raise ValueError(f"{place}: {start} interactions, expected {total}")
    sequences = Ragged.split(values, lengths)
    return Dataset(
        name=name_of(path),
        num_items=len(items),
        sequences=sequences,
        devices=np.arange(1, len(users) + 1),
        item_ids=Names(items["id"]),
        user_ids=Names(users["id"]),
        titles=Titles(items["title"]),
        times=None if seconds is None else Ragged(seconds, sequences.starts, lengths),
        source=path.name,
        reading=Reading(**index["reading"]),
    )


def _parts(place: Path, index: dict[str, Any], devices: int) -> Iterator[pl.DataFrame]:
    """The parts that hold the first ``devices`` devices."""
    before = 0
    for name, count, interactions in index["parts"]:
        if before >= devices:
            return
        table = _table(place / name, index["hashes"][name])
        if len(table) != interactions:
            raise ValueError(f"{name}: {len(table)} interactions, expected {interactions}")
        yield table
        before += count


def _table(path: Path, digest: str) -> pl.DataFrame:
    data = path.read_bytes()
    if blake2b(data).hexdigest() != digest:
        raise ValueError(f"{path}: damaged")
    return pl.read_parquet(io.BytesIO(data))
