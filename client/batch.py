"""From histories to the tensors that a cohort trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from common.data.types import Items


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
