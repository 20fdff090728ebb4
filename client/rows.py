"""The rows of the item table that a cohort trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.data.types import Items
from common.tasks import TrainTask


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
