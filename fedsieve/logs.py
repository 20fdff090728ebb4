"""Logs of interactions: by name, from a file, and as a file that the nodes of a run can read."""

from __future__ import annotations

import os
from pathlib import Path

from common.config import DataConfig
from common.data import DATASETS, Dataset, load, write_shards
from common.errors import UnknownName

FOLDER = "log"


def load_log(log: str | os.PathLike[str]) -> Dataset:
    """Histories in time order, one a user, of a known log or of a file.

    Parameters
    ----------
    log
        ``ml-100k``, ``ml-1m``, ``amazon-beauty``, ``lastfm`` or ``synthetic``; or the path of a log with the
        columns user, item and, if known, time (CSV, TSV, JSON lines, Parquet).

    Returns
    -------
    Dataset
        ``sequences`` are int32 arrays of item numbers 1 to ``num_items``; ``item_ids[i − 1]`` is what the
        log calls item i, ``times`` are seconds.

    Raises
    ------
    UnknownName
        Neither a known log nor a file.
    DataError
        The log cannot be fetched or read; says file, line and column.
    """
    data = placed(log)
    return load(data["name"], data.get("path", ""))


def placed(log: str | os.PathLike[str]) -> dict[str, str]:
    """``data.name`` and ``data.path`` of a log by name or path. Raises UnknownName."""
    text = os.fspath(log)
    if isinstance(log, str) and text in DATASETS:
        return {"name": text}
    path = Path(text).expanduser()
    looks = isinstance(log, Path) or path.suffix or len(path.parts) > 1
    if not looks and not path.is_file():
        raise UnknownName("log", text, DATASETS)
    return {"name": path.stem, "path": str(path.absolute())}


def written(dataset: Dataset, folder: Path) -> DataConfig:
    """Write ``dataset`` into ``folder``/log, item and device numbers kept, and say how a run names it."""
    (path,) = write_shards(dataset, 1, folder / FOLDER)
    return DataConfig(name=dataset.name, path=str(path.absolute()))
