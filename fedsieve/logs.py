"""Logs of interactions: by name, from a file, and as a file that the nodes of a run can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias, cast

from common.data import DATASETS, Dataset, content_digest, load, write_shards
from common.errors import ConfigError, RunError, UnknownName
from common.homes import expanded
from common.settings import validate
from experiments.shipped import CONFIGS
from fedsieve.frames import CALLED, dataset_of, is_frame
from fedsieve.settings import path_of
from server.records.begun import begun, in_vain

Frame: TypeAlias = Any
"""A frame of Polars or pandas, see :mod:`fedsieve.frames`."""
FOLDER, NODE = "log", "node-000.parquet"


def load_log(log: str | os.PathLike[str] | Frame, **settings: object) -> Dataset:
    """Histories in time order, one a user, of a known log, of a file or of a frame.

    Parameters
    ----------
    log
        ``ml-100k``, ``steam``, ``synthetic`` or another name of ``fedsieve data list``; or the path of a log
        with the columns user, item and time (CSV, TSV, JSON lines, Parquet; packed or not); or a frame of
        Polars or pandas with these columns.
    settings
        Those of ``data`` that say how to read it, as in ``columns={"item": "asin"}, min_rating=4``.

    Returns
    -------
    Dataset
        ``sequences`` are int32 arrays of item numbers 1 to ``num_items``; ``item_ids[i − 1]`` is what the
        log calls item i, ``times`` are seconds.

    Raises
    ------
    ConfigError
        A setting that does not exist or has a wrong value.
    UnknownName
        Neither a known log nor a file.
    DataError
        The log cannot be fetched or read; says file, line and column.
    """
    if is_frame(log):
        data = validate({"data": {"name": CALLED, **settings}}).data
        return dataset_of(log, data.name, data.preparation, data.max_devices)
    data = validate({"data": {**placed(log, "a name, a path or a frame"), **settings}}).data
    return load(data.name, data.path, devices=data.max_devices, prepare=data.preparation)


def placed(log: object, expected: str = "a name or a path") -> dict[str, str]:
    """``data.name`` and ``data.path`` of a log by name or path. Raises UnknownName, ConfigError."""
    path_of(log, "log", expected)
    text = os.fspath(cast(str, log))
    if isinstance(log, str) and text in DATASETS:
        return {"name": text}
    path = expanded(text)
    looks = isinstance(log, Path) or path.suffix or len(path.parts) > 1
    if not looks and not path.is_file():
        if (CONFIGS / f"{text}.yaml").is_file():
            raise ConfigError(
                f"log: {text!r} is no log but a config; fedsieve.run(fedsieve.load_config({text!r})) runs it"
            )
        raise UnknownName("log", text, DATASETS)
    return {"name": called(path.stem), "path": str(path.absolute())}


def called(name: str) -> str:
    """``data.name`` of a log that lies in a file: beside ``synthetic`` a path would be a recipe."""
    return f"{name}-log" if name == "synthetic" else name


def written(dataset: Dataset, folder: Path) -> str:
    """The path of ``dataset`` as a log in ``folder``, item and device numbers kept.

    One that is there already stays: it is that of the run to go on with. Raises RunError where it is another.
    """
    path = (folder / FOLDER / NODE).absolute()
    if begun(folder) and not path.exists():
        raise RunError(f"{folder} holds something else, and no run on this log; choose another folder")
    if in_vain(folder) or not path.exists():  # the log of a run that failed before its first round may go
        return str(write_shards(dataset, 1, path.parent)[0])
    if content_digest(load(called(dataset.name), str(path))) != content_digest(dataset):
        raise RunError(f"{folder} holds a run on another log; choose another folder")
    return str(path)
