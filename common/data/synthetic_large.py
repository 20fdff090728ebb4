"""A made-up log of any size: a million devices or items and a long tail, in seconds."""

from __future__ import annotations

from weakref import WeakValueDictionary

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.data.cut import SHORTEST
from common.data.names import Names
from common.data.ragged import CHUNK, Ragged
from common.data.types import Dataset, Items

FIRST, SECOND = 0.6, 0.3
"""How often the first and the second of an item's three successors come next."""

_OPEN: WeakValueDictionary[LargeRecipe, Dataset] = WeakValueDictionary()
"""What this process holds: the nodes of an emulation share one log."""


class LargeRecipe(BaseModel):
    """How the log is drawn; written ``devices=100000,items=200000,interactions=1000000`` in ``data.path``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    devices: int = Field(200, ge=1, le=100_000_000)
    items: int = Field(120, ge=20, le=100_000_000)
    interactions: int = Field(
        ge=3, le=10_000_000_000, description="of all devices together; at least 3 of each"
    )
    tail: float = Field(1.0, ge=0, le=4, description="exponent of the law of popularity; 0 is uniform")
    spread: float = Field(1.0, ge=0, le=3, description="log-normal spread of history lengths")
    order: float = Field(0.8, ge=0, le=1, description="share of steps that follow the chain")
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _fits(self) -> LargeRecipe:
        if self.interactions < SHORTEST * self.devices:
            raise ValueError(f"interactions must be at least {SHORTEST} times devices")
        return self


def large(what: LargeRecipe) -> Dataset:
    """Draw histories step by step for all devices at once, items repeated as chance has it.

    The first item and a share 1 − ``order`` of the steps are of the law p(rank r) ~ r^(−tail); the other
    steps go to one of the three usual successors of the item before (.6, .3, .1), which are drawn by the same
    law. A device has three interactions and its share of the rest, in proportion to exp(spread · normal).
    """
    if (log := _OPEN.get(what)) is None:
        log = _OPEN[what] = _draw(what)
    return log


def _draw(what: LargeRecipe) -> Dataset:
    rng = np.random.default_rng(what.seed)
    law = _Law(rng, what.items, what.tail)
    successors = law.draw(3 * what.items).reshape(-1, 3)
    lengths = _lengths(rng, what)
    sequences: Ragged[np.int32] = Ragged.split(np.empty(what.interactions, dtype=np.int32), lengths)
    longest = np.argsort(-lengths, kind="stable")  # so that those with a step t are the first ones
    starts, left = sequences.starts[longest], -lengths[longest]
    now = law.draw(what.devices)
    sequences.values[starts] = now + 1
    for step in range(1, int(lengths.max())):
        count = int(np.searchsorted(left, -step))  # devices with more than `step` interactions
        drawn = rng.random(count)
        choice = (drawn >= FIRST).astype(np.int8) + (drawn >= FIRST + SECOND)
        now = successors[now[:count], choice]
        jumps = rng.random(count) >= what.order
        now[jumps] = law.draw(int(jumps.sum()))
        sequences.values[starts[:count] + step] = now + 1
    return Dataset(
        name="synthetic",
        num_items=what.items,
        sequences=sequences,
        devices=np.arange(1, what.devices + 1),
        item_ids=_numbered(what.items),
        user_ids=_numbered(what.devices),
        times=Ragged(_seconds(rng, sequences), sequences.starts, lengths),
        source="generated",
    )


class _Law:
    """Draws item places 0..n−1 with p ~ rank^(−tail); which item has which rank is drawn too."""

    def __init__(self, rng: np.random.Generator, items: int, tail: float) -> None:
        self.rng = rng
        weights = np.arange(1, items + 1) ** -tail
        self.ends = np.cumsum(weights) / weights.sum()
        self.item_of = rng.permutation(items).astype(np.int32)

    def draw(self, count: int) -> Items:
        drawn = np.empty(count, dtype=np.int32)
        for start in range(0, count, CHUNK):
            some = drawn[start : start + CHUNK]
            ranks = np.searchsorted(self.ends, self.rng.random(len(some)))
            some[:] = self.item_of[ranks.clip(max=len(self.ends) - 1)]
        return drawn


def _lengths(rng: np.random.Generator, what: LargeRecipe) -> NDArray[np.int64]:
    """Lengths [n] of at least three whose sum is ``interactions``."""
    weights = np.exp(what.spread * rng.standard_normal(what.devices))
    spare = what.interactions - SHORTEST * what.devices
    ends = np.floor(np.cumsum(weights) / weights.sum() * spare + 0.5).astype(np.int64)
    ends[-1] = spare
    lengths: NDArray[np.int64] = SHORTEST + np.diff(ends, prepend=0)
    return lengths


def _seconds(rng: np.random.Generator, sequences: Ragged[np.int32]) -> NDArray[np.float64]:
    """Whole seconds from the device's first hour of the year on, an hour at most from one to the next."""
    gaps = rng.integers(1, 3600, len(sequences.values)).astype(np.float64)
    gaps[sequences.starts] += rng.integers(0, 365 * 86400, len(sequences))
    clock = np.cumsum(gaps, out=gaps)  # whole numbers below 2^53: exact
    before = np.where(sequences.starts > 0, clock[sequences.starts - 1], 0.0)
    for some in _blocks(len(sequences)):
        part = sequences[some]
        clock[part.starts[0] : part.starts[-1] + part.lengths[-1]] -= np.repeat(before[some], part.lengths)
    return clock


def _blocks(count: int, size: int = 1 << 16) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _numbered(count: int) -> Names:
    return Names(pl.int_range(1, count + 1, eager=True).cast(pl.String))
