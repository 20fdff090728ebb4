"""The devices that one node stands for, and where their histories come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from client.node_settings import NodeSettings
from common.data import load, recent
from common.data.cut import Parts, by_time, cut_at, held_out, last_two, only, training
from common.data.digest import catalogue_digest, with_cuts
from common.data.ragged import Ragged
from common.data.types import Items
from common.errors import ConfigError
from common.items import find, number_of
from common.preparation import Preparation
from common.seeding import generator

Numbers = NDArray[np.int64]


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
