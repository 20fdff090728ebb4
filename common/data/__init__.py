"""Logs by name or from a file, leave-one-out, and shards for deployments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from common.data import prepared, synthetic
from common.data.cut import SHORTEST, first, recent, split
from common.data.digest import catalogue_digest, content_digest
from common.data.known import KNOWN
from common.data.shards import CATALOGUE, is_shard, read_catalogue, read_shard, write_shards
from common.data.sources import load_known
from common.data.types import Dataset, Split
from common.errors import ConfigError, UnknownName

__all__ = [
    "CATALOGUE",
    "DATASETS",
    "SHORTEST",
    "Dataset",
    "Split",
    "catalogue",
    "content_digest",
    "describe",
    "load",
    "read_catalogue",
    "recent",
    "split",
    "write_shards",
]


def _synthetic(cache: Path | None = None) -> Dataset:
    return synthetic.generate()


DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "ml-100k": partial(load_known, "ml-100k"),
    "ml-1m": partial(load_known, "ml-1m"),
    "amazon-beauty": partial(load_known, "amazon-beauty"),
    "lastfm": partial(load_known, "lastfm"),
    "synthetic": _synthetic,
}
"""Name -> factory, which takes the cache folder (None for the usual one)."""


def load(name: str, path: str = "", cache: Path | None = None, devices: int = 0) -> Dataset:
    """Return the log called ``name``, or the one in the file ``path``; ``devices``: only the first so many.

    With ``name="synthetic"`` the path is a recipe: ``devices=200,items=120,seed=1``. A Parquet file beside a
    ``catalogue.parquet`` is a shard and keeps its numbers. A large file is prepared once and then opened from
    its cache; see :mod:`common.data.prepared`. Raises :class:`UnknownName`, :class:`ConfigError` (recipe) and
    :class:`DataError`.
    """
    if name == "synthetic" and path:
        return first(synthetic.generate(synthetic.recipe(path)), devices)
    if path:
        file = Path(path).expanduser()
        return read_shard(file, devices) if is_shard(file) else prepared.read(file, devices, cache)
    if not name:
        raise ConfigError("data: expected a name or a path")
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS)
    return first(DATASETS[name](cache), devices)


def catalogue(name: str, path: str = "") -> tuple[int, str]:
    """The number of items a model needs, and the data's digest; ``catalogue.parquet`` is enough."""
    file = Path(path).expanduser() if path else None
    if file is not None and file.name == CATALOGUE:
        items = read_catalogue(file)
        return items.height, catalogue_digest(items["id"])
    dataset = load(name, path)
    return dataset.num_items, content_digest(dataset)


def describe(name: str) -> str:
    """One line about a named data set."""
    return KNOWN[name].description if name in KNOWN else synthetic.DESCRIPTION
