"""From histories to the tensors that a cohort trains on, and the rows of the item table among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.data.ragged import Index, Ragged
from common.data.types import Items
from common.keystream import Draws
from common.tasks import TrainTask

Histories = Ragged[np.int32]


@dataclass(frozen=True)
class Batch:
    """Windows of n devices, right-aligned and padded with 0 on the left to one bucket length ℓ.

    inputs [n, ℓ] item numbers; targets [n, ℓ] the next item, 0 where nothing is predicted.
    Both int64, so that attacks may rewrite them.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def padding(self) -> Tensor:
        return self.inputs == 0

    def __len__(self) -> int:
        return self.inputs.shape[0]


def window_starts(lengths: Index, length: int, draws: Draws | None) -> Index:
    """Where each device's stretch of at most ``length`` + 1 interactions begins, int64 [n].

    lengths int64 [n] of the histories. The last stretch, or a random one given draws.
    """
    spare = np.maximum(lengths - (length + 1), 0)
    if draws is None:
        return spare
    return draws.below(torch.from_numpy(spare + 1)).numpy()


def make_batch(windows: Sequence[Items] | Histories, length: int) -> Batch:
    """Pair each item with the next one; ``length`` is the bucket's ℓ."""
    whole = Ragged.of(windows, np.int32)
    steps = np.maximum(whole.lengths - 1, 0)
    inputs, targets = whole.first(steps).padded(length), whole.last(steps).padded(length)
    return Batch(torch.from_numpy(inputs).long(), torch.from_numpy(targets).long())


def gaps_of(seconds: Ragged[np.float64], length: int) -> Tensor:
    """Seconds since the item before, 0 for the first: right-aligned and padded with 0, float32 [n, ℓ]."""
    padded, real = seconds.padded(length), np.minimum(seconds.lengths, length)
    gaps = np.diff(padded, axis=1, prepend=0.0)
    gaps[np.arange(length) <= length - real[:, None]] = 0.0
    return torch.from_numpy(gaps).float()


def buckets(lengths: Sequence[int] | Index, max_len: int) -> list[tuple[int, Index]]:
    """Group device indices by padded length: powers of two from 8 up, then ``max_len``.

    Returns (ℓ, indices) with indices in the order given, shortest bucket first.
    """
    sizes = np.array([size for size in (8, 16, 32, 64, 128, 256, 512) if size < max_len] + [max_len])
    bucket = np.searchsorted(sizes, np.clip(np.asarray(lengths, dtype=np.int64), 1, max_len))
    return [(int(sizes[k]), np.flatnonzero(bucket == k)) for k in np.unique(bucket)]


@dataclass(frozen=True)
class Rows:
    """What a cohort trains.

    items       int32 [K]     sorted: the items that the loss scores
    log_q       float32 [K]   or None where the loss is not corrected
    numbers     int32 [R]     sorted: the rows of the table that are sent; without codes the items' own
    candidates  bool [n, K]   items that a device may score; None for all
    """

    items: Tensor
    log_q: Tensor | None
    numbers: Tensor
    candidates: Tensor | None = None


def rows_of(task: TrainTask, windows: Histories, draws: Draws, wanted: Sequence[int]) -> Rows:
    """The round's slice or, with ``negatives: device``, the union of what these devices touch.

    A device touches its window, ``wanted``, and negatives that it draws without replacement.
    """
    if task.train_config.negatives != "device":
        return Rows(task.items, task.log_q if bool(task.log_q.any()) else None, task.rows)
    num_items = task.model.num_items
    negatives = draws.distinct(min(task.train_config.device_negatives, num_items), num_items).numpy() + 1
    n = len(windows)
    owner = np.concatenate(
        [windows.owners(), *(np.repeat(np.arange(n), m) for m in (negatives.shape[1], len(wanted)))]
    )
    item = np.concatenate([windows.flat(), negatives.ravel(), np.tile(np.asarray(wanted, dtype=np.int64), n)])
    union, place = np.unique(item, return_inverse=True)
    candidates = np.zeros((n, len(union)), dtype=bool)
    candidates[owner, place] = True
    where = task.model.table.device
    items = torch.from_numpy(union.astype(np.int32)).to(where)
    return Rows(items, None, items, torch.from_numpy(candidates).to(where))
