"""The devices that one node stands for, and where their histories come from."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from client.disclosure import Disclosure, read_disclosure
from common.data import Split, load, recent, split
from common.data.types import Items, Times
from common.device import CPU, resolve
from common.errors import ConfigError
from common.seeding import Key, generator

Scalar = bool | int | float | str
KEYS = (
    *("data", "path", "part", "share", "seed", "max_devices", "max_length", "public", "repeatable"),
    *("exposure_targets", "min_group", "evaluation_epsilon", "negatives", "min_noise", "components"),
    "device",
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
    tells: what the node's owner lets it tell. device: the CPU, or the GPU that trains and ranks.
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
    tells: Disclosure = field(default_factory=Disclosure)
    device: torch.device = CPU

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
        raise ConfigError(f"node config: unknown key {unknown[0]!r}; valid: {', '.join(KEYS)}")
    repeatable = config.get("repeatable", False)
    if not isinstance(repeatable, bool):
        raise ConfigError(f"node config: repeatable is {repeatable!r}; valid: true, false")
    return NodeSettings(
        data=str(config.get("data", "ml-100k")),
        path=str(config.get("path", "")),
        part=str(config.get("part", "all")),
        share=_number(config, "share", 1.0),
        seed=int(_number(config, "seed")),
        max_devices=int(_number(config, "max_devices")),
        max_length=int(_number(config, "max_length")),
        public=int(_number(config, "public")),
        repeatable=repeatable,
        tells=read_disclosure(config),
        device=resolve(str(config.get("device", "auto")), "node config: device"),
    )


@dataclass(frozen=True)
class Fleet:
    """Leave-one-out histories of the node's devices, by their stable numbers (ascending).

    times: seconds of every interaction of a device, where the log has them.
    """

    numbers: tuple[int, ...]
    splits: Mapping[int, Split]
    num_items: int
    times: Mapping[int, Times] | None = None

    def train(self, number: int) -> Items:
        return self.splits[number].train

    def train_times(self, number: int) -> Times:
        """Seconds of the interactions that :meth:`train` returns. Only where the log has times."""
        assert self.times is not None
        return self.times[number][: len(self.train(number))]

    def histories(self, which: str) -> tuple[list[Items], list[int]]:
        """(history, answer) of every device that can be evaluated on ``valid`` or ``test``."""
        histories, answers = [], []
        for number in self.numbers:
            part = self.splits[number]
            if part.test == 0:
                continue
            if which == "valid":
                histories.append(part.train)
                answers.append(part.valid)
            else:
                histories.append(np.append(part.train, np.int32(part.valid)))
                answers.append(part.test)
        return histories, answers


def malicious_devices(count: int, share: float, seed: int) -> frozenset[int]:
    """Positions of the malicious among ``count`` devices: every device has the same chance."""
    chosen = generator(seed, "malicious")
    return frozenset(torch.randperm(count, generator=chosen)[: round(share * count)].tolist())


def open_fleet(node: NodeSettings) -> Fleet:
    """The devices of a node. Raises ConfigError for a part that does not exist, DataError for a bad log."""
    return _open(
        node.data,
        node.path,
        node.part,
        node.share,
        node.seed,
        node.max_devices,
        node.max_length,
        node.public,
    )


def _number(config: Mapping[str, Scalar], key: str, largest: float = math.inf) -> float:
    value = config.get(key, 0)
    if isinstance(value, str) or not 0 <= value <= largest:
        limit = "" if math.isinf(largest) else f" to {largest:g}"
        raise ConfigError(f"node config: {key} is {value!r}; expected a number from 0{limit}")
    return value


@lru_cache(maxsize=16)
def _open(
    data: str, path: str, part: str, share: float, seed: int, max_devices: int, max_length: int, public: int
) -> Fleet:
    log = recent(load(data, path), max_length)
    count = min(len(log), max_devices) if max_devices else len(log)
    chosen = [int(log.devices[i]) for i in _positions(part, count, share, seed, public)]
    place = {int(number): i for i, number in enumerate(log.devices)}
    times = None if log.times is None else {n: log.times[place[n]] for n in chosen}
    return Fleet(tuple(chosen), {n: split(log.sequences[place[n]]) for n in chosen}, log.num_items, times)


def _positions(part: str, count: int, share: float, seed: int, public: int = 0) -> list[int]:
    if part == "all":
        return list(range(count))
    if part in ("honest", "malicious"):
        bad = malicious_devices(count, share, seed)
        return [i for i in range(count) if (i in bad) == (part == "malicious")]
    if part == "public":
        honest = _positions("honest", count, share, seed)
        drawn = torch.randperm(len(honest), generator=generator(seed, "public"))[:public]
        return [honest[i] for i in sorted(drawn.tolist())]
    index, slash, of = part.partition("/")
    if slash and index.isdecimal() and of.isdecimal() and int(index) < int(of):
        return list(range(int(index), count, int(of)))
    raise ConfigError(
        f"node config: part {part!r}; valid: all, honest, malicious, public, or I/N with I < N as in 0/4"
    )
