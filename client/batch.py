"""From histories to the tensors that a cohort trains on, and the rows of the item table among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from common.data.types import Items
from common.tasks import TrainTask


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

    def take(self, index: Tensor) -> Batch:
        return Batch(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def window(sequence: Items, length: int, generator: torch.Generator | None) -> Items:
    """At most ``length`` + 1 consecutive interactions: the last, or a random stretch given a generator."""
    spare = len(sequence) - (length + 1)
    if spare <= 0:
        return sequence
    start = spare
    if generator is not None:
        start = int(torch.randint(spare + 1, (1,), generator=generator))
    return sequence[start : start + length + 1]


def make_batch(windows: Sequence[Items], length: int) -> Batch:
    """Pair each item with the next one; ``length`` is the bucket's ℓ."""
    inputs = np.zeros((len(windows), length), dtype=np.int64)
    targets = np.zeros((len(windows), length), dtype=np.int64)
    for row, items in enumerate(windows):
        steps = len(items) - 1
        if steps > 0:
            inputs[row, -steps:] = items[:-1]
            targets[row, -steps:] = items[1:]
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets))


def buckets(lengths: Sequence[int], max_len: int) -> list[tuple[int, list[int]]]:
    """Group device indices by padded length: powers of two from 8 up, then ``max_len``.

    Returns (ℓ, indices) with indices in the order given, shortest bucket first.
    """
    sizes = [size for size in (8, 16, 32, 64, 128, 256, 512) if size < max_len] + [max_len]
    grouped: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        size = next(s for s in sizes if s >= min(max(length, 1), max_len))
        grouped.setdefault(size, []).append(index)
    return sorted(grouped.items())


@dataclass(frozen=True)
class Rows:
    """The rows that a cohort trains: items int32 [K] sorted, candidates bool [n, K] or None for all."""

    items: Tensor
    log_q: Tensor
    candidates: Tensor | None = None


def rows_of(
    task: TrainTask, windows: Sequence[Items], generators: Sequence[torch.Generator], wanted: Sequence[int]
) -> Rows:
    """The round's slice or, with ``negatives: device``, the union of what these devices touch.

    A device touches its window, ``wanted``, and negatives that its generator draws without replacement.
    """
    if task.train_config.negatives != "device":
        return Rows(task.items, task.log_q)
    num_items = task.model.table.shape[0] - 1
    draws = min(task.train_config.device_negatives, num_items)
    own = []
    for items, gen in zip(windows, generators, strict=True):
        negatives = torch.randperm(num_items, generator=gen)[:draws].numpy() + 1
        own.append(np.union1d(np.union1d(items, negatives), wanted).astype(np.int64))
    union = np.unique(np.concatenate(own))
    candidates = np.stack([np.isin(union, touched) for touched in own])
    return Rows(
        torch.from_numpy(union.astype(np.int32)),
        torch.zeros(len(union)),
        torch.from_numpy(candidates),
    )
