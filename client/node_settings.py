"""What a node config says, once it is valid: the log, which devices of it, what may be told of them."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from client.disclosure import Disclosure, read_disclosure
from common.device import CPU, resolve
from common.errors import ConfigError, choices
from common.preparation import AS_IT_IS, Preparation, from_text
from common.seeding import Key

Scalar = bool | int | float | str
KEYS = (
    *("data", "path", "part", "share", "seed", "max_devices", "max_length", "public", "repeatable"),
    *("prepare", "exposure_targets", "min_group", "evaluation_epsilon", "negatives", "min_noise"),
    *("components", "device", "cut_times"),
)
"""What a node config may hold: the log, which devices of it, what may be told of them, where they train."""

FLOWER_KEYS = frozenset({"partition-id", "num-partitions"})
"""What Flower's own nodes add."""


@dataclass(frozen=True)
class NodeSettings:
    """A node config, once it is valid.

    part: ``all``, ``2/4``, ``honest`` or ``malicious``. ``2/4`` takes every fourth device from the third on.
    ``honest`` and ``malicious`` are the two sides of one draw of ``share`` of all devices under ``seed``: an
    emulation runs each side as a node. ``public`` is so many of the honest devices as that key says.
    repeatable: the devices draw from ``seed``, as emulations want it; whoever knows the seed knows the draws.
    prepare: how the log is read.
    tells: what the node's owner lets it tell. device: the CPU, or the GPU that trains and ranks.
    cuts: the two times of ``eval.split: time``, the same on all nodes and the server; None: leave-one-out.
    """

    data: str = "ml-100k"
    path: str = ""
    part: str = "all"
    share: float = 0.0
    seed: int = 0
    max_devices: int = 0
    max_length: int = 0
    public: int = 0
    repeatable: bool = False
    prepare: Preparation = AS_IT_IS
    tells: Disclosure = field(default_factory=Disclosure)
    device: torch.device = CPU
    cuts: tuple[float, float] | None = None

    def device_key(self) -> Key:
        """What the node's devices draw from in one task: fresh bytes that nobody is told, or the seed."""
        return self.seed if self.repeatable else secrets.token_bytes(32)


def read_settings(config: Mapping[str, Scalar]) -> NodeSettings:
    """The settings that a node config names. Raises ConfigError for an unknown key or a wrong value."""
    return _read(frozenset((key, type(value), value) for key, value in config.items()))


@lru_cache(maxsize=256)
def _read(items: frozenset[tuple[str, type, Scalar]]) -> NodeSettings:
    config = {key: value for key, _, value in items}
    unknown = sorted(set(config) - set(KEYS) - FLOWER_KEYS)
    if "attack" in unknown:
        raise ConfigError("node config: attack: an honest node has none; attackers run attacks.app:app")
    if unknown:
        raise ConfigError(f"node config: unknown key {unknown[0]!r}{choices(unknown[0], KEYS)}")
    repeatable = config.get("repeatable", False)
    if not isinstance(repeatable, bool):
        raise ConfigError(f"node config: repeatable is {repeatable!r}; valid: true, false")
    return NodeSettings(
        data=str(config.get("data", "ml-100k")),
        path=str(config.get("path", "")),
        part=str(config.get("part", "all")),
        share=_share(config),
        **{key: whole(config, key) for key in ("seed", "max_devices", "max_length", "public")},
        repeatable=repeatable,
        prepare=_preparation(str(config.get("prepare", ""))),
        tells=read_disclosure(config),
        device=resolve(str(config.get("device", "auto")), "node config: device"),
        cuts=_cuts(str(config.get("cut_times", ""))),
    )


def _preparation(text: str) -> Preparation:
    try:
        return from_text(text)
    except ConfigError as error:
        raise ConfigError(f"node config: prepare: {error}") from error


def _cuts(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        early, late = map(float, text.split(","))
    except ValueError:
        early, late = math.nan, math.nan
    if not early < late:
        raise ConfigError(
            f"node config: cut_times is {text!r}; expected two times in seconds, as in 9.7e8,9.8e8"
        )
    return early, late


def _share(config: Mapping[str, Scalar]) -> float:
    value = config.get("share", 0.0)
    if isinstance(value, bool | str) or not 0 <= value <= 1:
        raise ConfigError(f"node config: share is {value!r}; expected a number from 0 to 1")
    return float(value)


def whole(config: Mapping[str, Scalar], key: str, least: int = 0) -> int:
    """The whole number under ``key``, ``least`` without one. Raises ConfigError for anything else."""
    value = config.get(key, least)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"node config: {key} is {value!r}; expected a whole number from {least}")
    return value
