"""The next items that devices train on, and the slice of a round that holds most of a device's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.batch import Histories
from common.data.ragged import Index
from common.keystream import Draws
from common.seeding import Key
from common.tasks import TrainTask


@dataclass(frozen=True, eq=False)
class CohortDraws:
    """What the devices int64 [n] draw in a round, on whatever node and in any company.

    No method of the cohort: :class:`Targets` keeps it, and a cohort that held itself would outlive its round.
    """

    key: Key = field(repr=False)
    round: int
    devices: Index

    def __call__(self, purpose: str, rows: Index | None = None, where: torch.device | None = None) -> Draws:
        """The draws for ``purpose`` of the devices at ``rows`` (all)."""
        chosen = self.devices if rows is None else self.devices[rows]
        return Draws.of(self.key, self.round, purpose, torch.from_numpy(chosen).to(where))


@dataclass(frozen=True)
class Targets:
    """Those of ``windows`` under a task.

    cloze: share of the next items that the model is asked for, 0: all. draws: what the devices at some places
    (all) draw for a purpose.
    """

    task: TrainTask
    windows: Histories
    cloze: float
    draws: Callable[[str, Index | None], Draws]

    @cached_property
    def asked(self) -> Tensor | None:
        """Next items of each window that the loss is at in each local step, right-aligned: bool [n, E, L].

        None for all. A model that learns by cloze is asked for a random share, and always for the last.
        """
        last = self.task.train_config.targets == "last"
        if not self.cloze and not last:
            return None
        steps, length = self.task.train_config.local_steps, self.task.model_config.max_len
        asked = torch.zeros(len(self.windows), steps, length, dtype=torch.bool)
        if not last:
            asked = self.draws("cloze", None).uniform(steps, length) < self.cloze
        asked[:, :, -1] = True
        return asked & self._real[:, None]

    @cached_property
    def _real(self) -> Tensor:
        """Right-aligned positions that have a next item: bool [n, L]."""
        pairs = torch.from_numpy(np.maximum(self.windows.lengths - 1, 0))  # [n]
        length = self.task.model_config.max_len
        return torch.arange(length) >= length - pairs[:, None]

    @cached_property
    def per_slice(self) -> Index:
        """How many next items of each window that are asked for are in each of the m slices: int64 [n, m]."""
        count, n = self.task.train_config.slices, len(self.windows)
        targets = self.windows.last(np.maximum(self.windows.lengths - 1, 0))
        number = self.slice_of()[targets.flat()]  # of each target's slice, or m
        inside = number < count
        if self.asked is not None:
            inside &= self.asked.any(dim=1)[self._real].numpy()
        place = targets.owners()[inside] * count + number[inside]
        return np.bincount(place, minlength=n * count).reshape(n, count)

    def slice_of(self) -> NDArray[np.int16]:
        """The slice of each item, m where it is in none: int16 [N + 1]."""
        slices = self.task.items.view(self.task.train_config.slices, -1).cpu().numpy()  # [m, K]
        number = np.full(self.task.model.num_items + 1, len(slices), dtype=np.int16)
        number[slices] = np.arange(len(slices), dtype=np.int16)[:, None]
        return number

    def most(self, counts: Index | None = None) -> Index:
        """The slice where each device counts most, ties by a fair draw of its own: [n, m] -> int64 [n].

        By default what it counts are its next items.
        """
        counts = self.per_slice if counts is None else counts
        tied = counts == counts.max(axis=1, keepdims=True)  # [n, m]
        chosen: Index = tied.argmax(axis=1)
        among = tied.sum(axis=1)
        if len(unsettled := np.flatnonzero(among > 1)):
            drawn = self.draws("slice", unsettled).below(torch.from_numpy(among[unsettled])).numpy()
            chosen[unsettled] = (tied[unsettled].cumsum(axis=1) > drawn[:, None]).argmax(axis=1)
        return chosen
