"""Who serves which devices: the honest and the malicious side of one draw, a log each replica."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.config import RunConfig
from common.data import Dataset, recent, write_shards
from common.data.cut import only
from common.data.shards import CATALOGUE
from common.errors import ConfigError
from emulation.federation import NodeConfig, attack_keys, malicious_numbers, measured
from emulation.targets import with_targets
from experiments.containers.places import SIDES, Places
from server.records.checkpoint import write_atomically


@dataclass(frozen=True)
class Division:
    """A run as it is told to the server; side -> slot -> device numbers, and side -> slot -> node config."""

    config: RunConfig
    devices: Mapping[str, Mapping[int, Sequence[int]]]
    nodes: Mapping[str, Mapping[int, NodeConfig]]

    def publish(self, places: Places) -> None:
        """Tell the replicas what they serve; they connect at once."""
        for side in SIDES:
            write_atomically(places.plan(side), json.dumps(self.nodes[side]).encode())


def divide(config: RunConfig, data: Dataset, slots: Mapping[str, Sequence[int]], places: Places) -> Division:
    """Write one log for each claimed slot; the server gets the catalogue alone.

    The malicious devices are ``attack.share`` of all, drawn as an emulation draws them, whatever the number
    of containers. The quota is the largest log: a container that lies about its devices gains none.
    Raises ConfigError when a side has devices and no container, or the reverse.
    """
    data = recent(data, config.data.max_length)
    config = with_targets(config, data)
    bad = malicious_numbers(config, data) if slots["malicious"] else frozenset()
    _possible(config, slots, bad)
    if not bad:
        config = config.model_copy(update={"attack": config.attack.model_copy(update={"name": "none"})})
    kept = range(min(len(data), config.data.max_devices or len(data)))
    rows = {
        "honest": [i for i in kept if int(data.devices[i]) not in bad],
        "malicious": [i for i in kept if int(data.devices[i]) in bad],
    }
    devices: dict[str, dict[int, list[int]]] = {}
    nodes: dict[str, dict[int, NodeConfig]] = {}
    token = secrets.token_hex(4)
    for side in SIDES:
        own, count = only(data, rows[side]), len(slots[side])
        extra = attack_keys(config) if side == "malicious" and bad else measured(config)
        logs = _logs(own, count, places.side(side) / "logs", token)
        nodes[side] = {n: {"path": str(log), **extra} for n, log in zip(slots[side], logs, strict=True)}
        devices[side] = {n: own.devices[k::count].tolist() for k, n in enumerate(slots[side])}
    shutil.copy(places.side("honest") / "logs" / token / CATALOGUE, places.public / CATALOGUE)
    largest = max(len(own) for one in devices.values() for own in one.values())
    strategy = {
        "wait_nodes": sum(map(len, slots.values())),
        "wait_s": max(180.0, config.strategy.wait_s),
        "quota": min(config.strategy.quota or largest, largest),
    }
    told = {
        "data": config.data.model_copy(update={"path": str(places.public / CATALOGUE)}),
        "strategy": config.strategy.model_copy(update=strategy),
    }
    return Division(config.model_copy(update=told), devices, nodes)


def _possible(config: RunConfig, slots: Mapping[str, Sequence[int]], bad: frozenset[int]) -> None:
    if not slots["honest"]:
        raise ConfigError("no honest container: start some with --scale node=N")
    if slots["malicious"] and not bad:
        raise ConfigError(
            f"{len(slots['malicious'])} malicious container(s), but ATTACK={config.attack.name} and "
            f"MALICIOUS_SHARE={config.attack.share:g} leave them no devices; use --scale malicious=0"
        )


def _logs(data: Dataset, count: int, folder: Path, token: str) -> list[Path]:
    """A log a slot in a new folder; those of earlier runs go."""
    shutil.rmtree(folder, ignore_errors=True)
    return write_shards(data, count, folder / token) if count else []
