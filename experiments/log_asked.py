"""The log that a command of ``fedsieve data`` is asked about."""

from __future__ import annotations

from typing import Annotated

import typer

from common.config import RunConfig
from common.data import DATASETS, Dataset, load
from common.errors import ConfigError
from common.homes import expanded
from common.settings import changed, key_values

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="a setting of data, as data.min_rating=4"),
]


def asked(name: str, path: str, overrides: list[str] | None) -> RunConfig:
    """The settings for a known name, else for a file if the name looks like one, whatever its ending."""
    keys = key_values(overrides or [])
    if bad := [key for key in keys if not key.startswith("data.")]:
        raise ConfigError(f"--set {bad[0]}: expected a setting of data, as in data.min_rating=4")
    if bad := [key for key in keys if key in ("data.name", "data.path")]:
        raise ConfigError(f"--set {bad[0]}: the log is given, {path or name}; --set is for how it is read")
    if path and name not in ("", "synthetic"):
        raise ConfigError(f"--path {path}: the log is given already, {name}; give one of them")
    file = expanded(name)
    if not path and name not in DATASETS and (file.suffix or file.exists() or len(file.parts) > 1):
        name, path = "", name
    return changed({"data": {"name": name, "path": path}}, keys)


def opened(name: str, path: str = "", overrides: list[str] | None = None) -> Dataset:
    """The log of :func:`asked`, prepared as its settings say."""
    data = asked(name, path, overrides).data
    return load(data.name, data.path, devices=data.max_devices, prepare=data.preparation)
