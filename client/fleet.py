"""The devices that one node stands for, and where their histories come from."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from client.disclosure import Disclosure, read_disclosure
from common.data import load, recent
from common.data.cut import Parts, by_time, cut_at, held_out, last_two, only, training
from common.data.digest import catalogue_digest, with_cuts
from common.data.ragged import Ragged
from common.data.types import Items
from common.device import CPU, resolve
from common.errors import ConfigError, choices
from common.items import find, number_of
from common.preparation import AS_IT_IS, Preparation, from_text
from common.seeding import Key, generator

Numbers = NDArray[np.int64]
Scalar = bool | int | float | str
KEYS = (
    *("data", "path", "part", "share", "seed", "max_devices", "max_length", "public", "repeatable"),
    *(
        "prepare",
        "exposure_targets",
        "min_group",
        "evaluation_epsilon",
        "negatives",
        "min_noise",
        "components",
    ),
    "device",
    "cut_times",
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
        share=_number(config, "share", 1.0),
        seed=int(_number(config, "seed")),
        max_devices=int(_number(config, "max_devices")),
        max_length=int(_number(config, "max_length")),
        public=int(_number(config, "public")),
        repeatable=repeatable,
        prepare=_preparation(str(config.get("prepare", ""))),
        tells=read_disclosure(config),
        device=resolve(str(config.get("device", "auto")), "node config: device"),
        cuts=_cuts(str(config.get("cut_times", ""))),
    )


@dataclass(frozen=True, eq=False)
class Fleet:
    """Histories of the node's devices, by their stable numbers.

    They are split by time at ``cuts``, or one is left out.
    numbers: int64 [n], ascending. sequences: the whole history of each. times: seconds of every
    interaction of a device, where the log has them. item_ids: the own id of item i at index i − 1.
    """

    numbers: Numbers
    sequences: Ragged[np.int32]
    num_items: int
    times: Ragged[np.float64] | None = None
    item_ids: Sequence[str] = ()
    cuts: tuple[float, float] | None = None

    def item(self, name: str, key: str) -> int:
        """The number of the item that the setting ``key`` calls ``name``. Raises ConfigError."""
        return find(name, self.item_ids, key) if len(self.item_ids) else number_of(name, key)

    @cached_property
    def fingerprint(self) -> str:
        """Of the catalogue, which item has which number, and of the split; empty where items have no ids."""
        return with_cuts(catalogue_digest(self.item_ids), self.cuts) if len(self.item_ids) else ""

    @cached_property
    def parts(self) -> Parts:
        """What of each history is trained, validated and tested."""
        if self.cuts is None or self.times is None:
            return last_two(self.sequences.lengths)
        return by_time(self.times, self.cuts)

    @cached_property
    def trained(self) -> Ragged[np.int32]:
        """The training part of every device, in the order of ``numbers``."""
        return training(self.sequences, self.parts)

    def positions(self, numbers: Numbers) -> Numbers:
        """Places of the devices ``numbers`` [m] in the fleet, −1 for one that is not on this node."""
        asked = np.asarray(numbers, dtype=np.int64)
        if not len(self.numbers):
            return np.full(asked.shape, -1, dtype=np.int64)
        places = np.searchsorted(self.numbers, asked).clip(max=len(self.numbers) - 1)
        return np.where(self.numbers[places] == asked, places, -1)

    def train_histories(self, numbers: Numbers) -> Ragged[np.int32]:
        """Training parts of the devices ``numbers`` [m], in that order. Raises KeyError for another's."""
        return self.trained.take(self._own(numbers))

    def train_seconds(self, numbers: Numbers) -> Ragged[np.float64] | None:
        """Seconds of the interactions of :meth:`train_histories`; None where the log has no times."""
        if self.times is None:
            return None
        places = self._own(numbers)
        return training(self.times.take(places), self.parts.take(places))

    def train(self, number: int) -> Items:
        """The training part of one device."""
        return self.train_histories(np.array([number]))[0]

    def evaluated(self, which: str) -> Numbers:
        """The devices that can be evaluated on ``valid`` or ``test``, in the order of :meth:`histories`."""
        numbers: Numbers = self.numbers[(self.parts.test if which == "test" else self.parts.valid) >= 0]
        return numbers

    def histories(self, which: str) -> tuple[Ragged[np.int32], Numbers]:
        """(history, answer) of every device that can be evaluated on ``valid`` or ``test``."""
        histories, answers = held_out(self.sequences, which, self.parts)
        return histories, answers.astype(np.int64)

    def seconds(self, which: str) -> Ragged[np.float64] | None:
        """Seconds of the interactions of :meth:`histories`; None where the log has no times."""
        return None if self.times is None else held_out(self.times, which, self.parts)[0]

    def _own(self, numbers: Numbers) -> Numbers:
        places = self.positions(numbers)
        if (places < 0).any():
            raise KeyError(int(np.asarray(numbers)[places < 0][0]))
        return places


def malicious_devices(count: int, share: float, seed: int) -> Numbers:
    """Positions of the malicious among ``count`` devices, ascending: every device has the same chance."""
    chosen = generator(seed, "malicious")
    drawn: Numbers = torch.randperm(count, generator=chosen)[: round(share * count)].numpy()
    return np.sort(drawn)


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
        node.prepare,
        node.cuts,
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


def _number(config: Mapping[str, Scalar], key: str, largest: float = math.inf) -> float:
    value = config.get(key, 0)
    if isinstance(value, str) or not 0 <= value <= largest:
        limit = "" if math.isinf(largest) else f" to {largest:g}"
        raise ConfigError(f"node config: {key} is {value!r}; expected a number from 0{limit}")
    return value


@lru_cache(maxsize=16)
def _open(
    data: str,
    path: str,
    part: str,
    share: float,
    seed: int,
    max_devices: int,
    max_length: int,
    public: int,
    prepare: Preparation,
    cuts: tuple[float, float] | None,
) -> Fleet:
    log = cut_at(recent(load(data, path, devices=max_devices, prepare=prepare), max_length), cuts)
    own = only(log, _positions(part, len(log), share, seed, public))
    return Fleet(own.devices, own.sequences, own.num_items, own.times, own.item_ids, own.cuts)


def _positions(part: str, count: int, share: float, seed: int, public: int = 0) -> Numbers:
    """Places in the log of the devices of ``part``, ascending."""
    if part == "all":
        return np.arange(count)
    if part in ("honest", "malicious"):
        bad = malicious_devices(count, share, seed)
        return bad if part == "malicious" else np.setdiff1d(np.arange(count), bad, assume_unique=True)
    if part == "public":
        honest = _positions("honest", count, share, seed)
        drawn = torch.randperm(len(honest), generator=generator(seed, "public"))[:public]
        chosen: Numbers = honest[np.sort(drawn.numpy())]
        return chosen
    index, slash, of = part.partition("/")
    if slash and index.isdecimal() and of.isdecimal() and int(index) < int(of):
        return np.arange(int(index), count, int(of))
    raise ConfigError(
        f"node config: part {part!r}; valid: all, honest, malicious, public, or I/N with I < N as in 0/4"
    )
