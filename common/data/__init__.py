"""Logs by name or from a file, leave-one-out, and shards for deployments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from common.data import prepared, synthetic
from common.data.cut import SHORTEST, cut_at, evaluable, first, recent, split
from common.data.digest import catalogue_digest, content_digest
from common.data.known import KNOWN
from common.data.names import Names
from common.data.shards import CATALOGUE, is_shard, read_catalogue, read_shard, write_shards
from common.data.sources import load_known
from common.data.types import Dataset, Split
from common.errors import ConfigError, DataError, UnknownName
from common.homes import expanded
from common.preparation import AS_IT_IS, Preparation

__all__ = [
    "CATALOGUE",
    "DATASETS",
    "SHORTEST",
    "Catalogue",
    "Dataset",
    "Split",
    "catalogue",
    "content_digest",
    "cut_at",
    "describe",
    "evaluable",
    "load",
    "read_catalogue",
    "recent",
    "split",
    "write_shards",
]


_LOG = logging.getLogger(__name__)
_TOLD: set[tuple[str, int]] = set()
"""Logs of which this process has warned: the nodes of an emulation open them again."""


def _synthetic(cache: Path | None = None, prepare: Preparation = AS_IT_IS) -> Dataset:
    return synthetic.generate()


DATASETS: dict[str, Callable[[Path | None, Preparation], Dataset]] = {
    **{name: partial(load_known, name) for name in KNOWN},
    "synthetic": _synthetic,
}
"""Name -> factory, which takes the cache folder (None for the usual one) and how to read."""


def load(
    name: str,
    path: str = "",
    cache: Path | None = None,
    devices: int = 0,
    prepare: Preparation = AS_IT_IS,
) -> Dataset:
    """Return the log called ``name``, or the one in the file ``path``; ``devices``: only the first so many.

    With ``name="synthetic"`` the path is a recipe: ``devices=200,items=120,seed=1``. A Parquet file beside a
    ``catalogue.parquet`` is a shard and keeps its numbers. A large file is prepared once and then opened from
    its cache; see :mod:`common.data.prepared`. ``prepare`` says which columns to read and what to leave out.
    Raises :class:`UnknownName`, :class:`ConfigError` (recipe) and :class:`DataError`.
    """
    file = expanded(path) if path and name != "synthetic" else None
    if file is not None and is_shard(file):
        _whole(file, prepare)
        return read_shard(file, devices)
    if file is not None:
        return _told(prepared.read(file, devices, cache, prepare))
    if name == "synthetic":
        _whole(name, prepare)
        return first(synthetic.generate(synthetic.recipe(path) if path else None), devices)
    if not name:
        raise ConfigError("data: expected a name or a path")
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS, "data.name")
    return _told(first(DATASETS[name](cache, prepare), devices))


def _whole(source: object, prepare: Preparation) -> None:
    """Raises :class:`DataError` for rules about a log that is numbered already."""
    if changed := prepare.changed():
        raise DataError(source, f"data.{next(iter(changed))}: this log is prepared already; leave it out")


def _told(log: Dataset) -> Dataset:
    """``log``, with a warning about lines that nobody asked to drop."""
    rows = log.reading.dropped.get("data.duplicates")
    if rows and (same := (log.source, rows)) not in _TOLD:
        _TOLD.add(same)
        text = "%s: %d of %d lines dropped: one user, item and time again (data.duplicates=keep keeps them)"
        _LOG.warning(text, log.source, rows, log.reading.rows)
    return log


class Catalogue(NamedTuple):
    """items: the number that a model needs; digest: of all that is known of the data; fingerprint: of which
    item has which number; ids: own id of item i at index i − 1."""

    items: int
    digest: str
    fingerprint: str
    ids: Sequence[str]


def catalogue(name: str, path: str = "", prepare: Preparation = AS_IT_IS) -> Catalogue:
    """What a server needs to know of the data; ``catalogue.parquet``, which is prepared, is enough."""
    file = expanded(path) if path else None
    if file is not None and file.name == CATALOGUE:
        items = read_catalogue(file)
        fingerprint = catalogue_digest(items["id"])
        return Catalogue(items.height, fingerprint, fingerprint, Names.of(items["id"]))
    dataset = load(name, path, prepare=prepare)
    fingerprint = catalogue_digest(dataset.item_ids)
    return Catalogue(dataset.num_items, content_digest(dataset), fingerprint, dataset.item_ids)


def describe(name: str) -> str:
    """One line about a named data set."""
    return KNOWN[name].description if name in KNOWN else synthetic.DESCRIPTION
