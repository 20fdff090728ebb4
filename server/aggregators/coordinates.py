"""What rules share that look at one coordinate at a time: who votes on it, and the votes in order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from common.checks import one_of
from common.device import CPU
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough

CHUNK = 1 << 20
"""Votes counted at a time (4 MiB a copy, beside the input)."""

Electorate = Literal["all", "touched"]


@dataclass(frozen=True)
class Votes:
    """The votes on K rows of d coordinates: values float32 [K, d, n], number of voters int64 [K, 1, 1].

    voters  bool [K, 1, n], or None where every device votes
    """

    values: Tensor
    number: Tensor
    voters: Tensor | None = None

    @cached_property
    def ranked(self) -> Tensor:
        """The votes in ascending order, with +inf behind them for every device that has none -> [K, d, n]."""
        values = self.masked(torch.inf)
        if values.device == CPU:  # numpy's sort takes a fifteenth of torch's time on rows this short
            return torch.from_numpy(np.sort(values.contiguous().numpy(), axis=-1))
        return values.sort(dim=-1).values

    def masked(self, instead: float) -> Tensor:
        """The votes, and ``instead`` for every device that has none -> [K, d, n]."""
        return self.values if self.voters is None else self.values.masked_fill(~self.voters, instead)

    @property
    def minority(self) -> Tensor:
        """The most votes that a majority outnumbers: ⌊(number − 1)/2⌋, at least 0 -> [K, 1, 1]."""
        return ((self.number - 1) // 2).clamp_min(0)

    def median(self) -> Tensor:
        """The middle vote, or the mean of the two in the middle -> float64 [K, d, 1]."""
        high = (self.number // 2).clamp_max(self._size - 1)
        return (self._at(self.minority).double() + self._at(high)) / 2

    def between(self, low: Tensor, high: Tensor) -> Tensor:
        """Mean of the votes at ranks low ≤ rank < high, each [K, 1, 1] -> float64 [K, d, 1]."""
        inside = (self._ranks >= low) & (self._ranks < high)  # [K, 1, n]
        total = torch.where(inside, self.ranked, 0.0).sum(-1, keepdim=True, dtype=torch.float64)
        return total / (high - low).clamp_min(1)

    def nearest(self, centre: Tensor, keep: Tensor) -> Tensor:
        """Mean of the ``keep`` [K, 1, 1] votes nearest to ``centre`` [K, d, 1] -> float64 [K, d, 1].

        Votes that are equally far share the places left for them, so the order of devices does not
        matter. The nearest votes are neighbours in rank: their radius is the least over all windows.
        """
        ranked = self.ranked.double()
        away = ranked - centre  # [K, d, n]
        end = self._ranks + keep - 1  # [K, 1, n]: last rank of the window that starts here
        last = away.gather(-1, end.clamp(0, self._size - 1).expand_as(away))
        reach = torch.maximum(-away, last).masked_fill(end >= self.number, torch.inf)
        radius = reach.min(dim=-1, keepdim=True).values  # [K, d, 1]
        inside, rim = away.abs() < radius, away.abs() == radius
        rim = rim & (self._ranks < self.number)  # +inf is no vote, even where nobody votes
        sure = inside.sum(-1, keepdim=True)
        shared = _sum(ranked, rim) / rim.sum(-1, keepdim=True).clamp_min(1)
        return (_sum(ranked, inside) + (keep - sure) * shared) / keep.clamp_min(1)

    @property
    def _size(self) -> int:
        return self.values.shape[-1]

    @property
    def _ranks(self) -> Tensor:
        return torch.arange(self._size, device=self.values.device).expand(len(self.number), 1, -1)

    def _at(self, rank: Tensor) -> Tensor:
        """The vote at a rank [K, 1, 1] -> [K, d, 1]."""
        return self.ranked.gather(-1, rank.expand(*self.values.shape[:2], 1))


def _sum(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, 0.0).sum(-1, keepdim=True)


Settle = Callable[[Votes], Tensor]
"""[K, d, 1] from the votes on K rows of d coordinates. What it says of a row without voters is not used."""


def settled(values: Tensor, settle: Settle, voters: Tensor | None = None, chunk: int = CHUNK) -> Tensor:
    """Let the devices vote on [n, K, d], where voters (bool [n, K], all without it) -> [K, d].

    A row without voters is 0.
    """
    n, count, width = values.shape
    out = values.new_zeros((count, width))
    step = max(1, chunk // max(1, n * width))
    for low in range(0, count, step):
        part = slice(low, low + step)
        votes = _votes(values[:, part], None if voters is None else voters[:, part])
        out[part] = torch.where(votes.number > 0, settle(votes), 0.0).squeeze(-1).to(out.dtype)
    return out


def _votes(values: Tensor, voters: Tensor | None) -> Votes:
    turned = values.permute(1, 2, 0)  # [K, d, n]
    if voters is None:
        return Votes(turned, torch.full((len(turned), 1, 1), len(values), device=values.device))
    return Votes(turned, voters.sum(dim=0)[:, None, None], voters.T.unsqueeze(1))


@dataclass(frozen=True)
class CoordinateRule(Aggregator):
    """A rule that settles every coordinate by itself.

    On item rows the voters are all devices (``electorate: all``, an untouched row votes 0) or those
    that trained the row (``touched``; a row of nobody does not move).
    """

    family: ClassVar[str] = "coordinate"
    electorate: Electorate = "all"

    def __post_init__(self) -> None:
        one_of(electorate=(self.electorate, ("all", "touched")))

    @abstractmethod
    def settle(self, votes: Votes, byzantine: int) -> Tensor:
        """[K, d, 1] from the votes on K rows of d coordinates, ``byzantine`` of them malicious."""

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        settle = partial(self.settle, byzantine=round_.byzantine)
        encoder = settled(updates.encoder.unsqueeze(-1), settle).squeeze(-1)  # [n, P, 1] -> [P]
        touched = updates.touched if self.electorate == "touched" else None
        return Aggregate(encoder, settled(updates.rows, settle, touched)), state
