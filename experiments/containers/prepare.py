"""``setup``: read the settings of ``.env`` and check them, fetch the data, make certificates."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from client.regularisers import build_regularisers
from common.config import RunConfig
from common.data import DATASETS, Dataset
from common.errors import ConfigError
from common.logs import FORMATS
from common.models import build_model
from common.printable import printable
from common.settings import load as load_settings
from emulation.federation import check_attack, open_log
from emulation.targets import with_targets
from experiments.containers.places import CONTROL_HOST, FLEET_HOST, SIDES, Places
from experiments.identity import make_authority, make_server
from experiments.shipped import CONFIGS
from server.round.pipeline import Pipeline

KEYS = {
    "MODEL": "model.name",
    "STRATEGY": "strategy.aggregator",
    "ROUNDS": "train.rounds",
    "DEVICES_PER_ROUND": "train.devices_per_round",
    "DEADLINE": "strategy.deadline_s",
    "ATTACK": "attack.name",
    "MALICIOUS_SHARE": "attack.share",
    "TARGETS": "attack.targets",
    "EVAL_EVERY": "eval.every",
    "SEED": "seed",
}
"""Variable -> setting. ``CONFIG``, ``DATA``, ``SETTINGS`` and ``RUN_NAME`` are read beside them, and
``METRICS_PORT`` and ``LOG_FORMAT``, which are for other containers, are checked."""

HOSTS = (FLEET_HOST, CONTROL_HOST, "localhost", "127.0.0.1")


@dataclass(frozen=True)
class Wanted:
    """What ``.env`` asks for: a run's settings and the name of its folder in ``./runs/``."""

    config: RunConfig
    name: str


def wanted(environment: Mapping[str, str], data: Path = Path("/data")) -> Wanted:
    """Read the variables; an empty one counts as not set.

    ``DATA`` is a known data set or a file in ``data``, ``SETTINGS`` holds KEY=VALUE pairs as in ``--set``,
    which win. Raises ConfigError that names the variable.
    """
    given = {key: value.strip() for key, value in environment.items() if value.strip()}
    overrides = [f"{setting}={given[key]}" for key, setting in KEYS.items() if key in given]
    overrides += _data(given.get("DATA", "ml-100k"), data)
    try:
        overrides += shlex.split(given.get("SETTINGS", ""))
    except ValueError as error:
        raise ConfigError(f".env: SETTINGS: {error}") from error
    try:
        config = load_settings(_base(given.get("CONFIG", "demo")), overrides)
    except ConfigError as error:
        raise ConfigError(f".env: {_named(str(error))}") from error
    _watching(given)
    name = given.get("RUN_NAME", f"{config.data.name or 'log'}-{config.strategy.aggregator.name}")
    if name in (".", "..") or "/" in name:
        raise ConfigError(f".env: RUN_NAME: {name!r}; expected the name of a folder in ./runs/")
    return Wanted(config, name)


def _data(name: str, folder: Path) -> list[str]:
    if name in DATASETS:
        return [f"data.name={name}"]
    if "/" in name or not (folder / name).is_file():
        raise ConfigError(
            f".env: DATA: {name!r} is neither a known data set ({', '.join(DATASETS)}) "
            "nor a file in the folder that FEDSIEVE_DATA names"
        )
    return [f"data.name={Path(name).stem}", f"data.path={folder / name}"]


def _watching(given: Mapping[str, str]) -> None:
    port, form = given.get("METRICS_PORT", "1"), given.get("LOG_FORMAT", FORMATS[0])
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ConfigError(f".env: METRICS_PORT: {port!r}; expected a port, as 9464, or nothing")
    if form not in FORMATS:
        raise ConfigError(f".env: LOG_FORMAT: {form!r}; valid: {', '.join(FORMATS)}")


def _base(name: str) -> Path:
    file = CONFIGS / f"{name}.yaml"
    if "/" in name or not file.is_file():
        valid = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
        raise ConfigError(f".env: CONFIG: {name!r}; valid: {valid}")
    return file


def _named(text: str) -> str:
    """The text of an error with the variable beside each setting that has one."""
    for key, setting in KEYS.items():
        text = text.replace(f"{setting}:", f"{key} ({setting}):")
    return text


def prepare(places: Places, console: Console) -> None:
    """Everything that must be right before any other container starts.

    A wrong setting ends it here, with the name of the variable. Raises FedSieveError.
    """
    for old in (places.over, *(places.plan(side) for side in SIDES)):
        old.unlink(missing_ok=True)
    asked = wanted(os.environ)
    data = open_log(asked.config)
    check(asked, data)
    console.print(
        f"{printable(data.name)}: {len(data):,} devices, {data.num_items:,} items",
        markup=False,
        highlight=False,
    )
    authority = places.authority / "ca.key"
    make_authority(authority, places.certificate)
    new = make_server(
        places.server / "server.key", places.server / "server.pem", (authority, places.certificate), HOSTS
    )
    console.print(f"certificates: {'a private CA signed a new one' if new else 'kept from an earlier start'}")


def check(asked: Wanted, data: Dataset) -> None:
    """Build once what the run will build, so that a wrong name is told now. Raises FedSieveError."""
    config = with_targets(asked.config, data)
    build_regularisers(config.client.regularisers, config.model)
    check_attack(config)
    build_model(config.model)
    Pipeline.build(config, data.num_items)
