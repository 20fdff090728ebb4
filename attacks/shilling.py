"""Fake profiles: what the shilling attacks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from attacks.base import Attack, View
from client.batch import Batch
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class Shilling(Attack):
    """x_t ~ fillers, y_t := target for all t: a made-up history after which the target always comes next.

    As many interactions as the device really has; targets take turns over the positions. What the device
    sends is what honest training makes of it: nothing is scaled. A round whose slice lacks the target is
    answered with the real history.
    """

    kind: ClassVar[str] = "data"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "own data"

    def fillers(self, shape: torch.Size, view: View) -> Tensor:
        """Item numbers int64 of ``shape``; an attack draws them in its own way."""
        raise NotImplementedError

    def relabel(self, batch: Batch, view: View) -> Batch:
        targets = trained_targets(view)
        if not targets:
            return batch
        fake = self.fillers(batch.inputs.shape, view)  # [n, ℓ]
        turns = by_turns(targets, batch)  # [ℓ]
        return replace(
            batch,
            inputs=torch.where(batch.inputs > 0, fake, 0),
            targets=torch.where(batch.targets > 0, turns, 0),
        )

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        return confined(updates)


def trained_targets(view: View) -> list[int]:
    """Targets that this round trains, in the attack's order."""
    rows = set(view.cohort.rows.items.tolist()) if view.targets else set()
    return [t for t in view.targets if t in rows]


def by_turns(targets: Sequence[int], batch: Batch) -> Tensor:
    """Targets that take turns over the positions of a batch: int64 [ℓ]."""
    place = torch.arange(batch.targets.shape[1], device=batch.targets.device)
    return torch.tensor(targets, device=place.device)[place % len(targets)]


def confined(updates: DeviceUpdates) -> DeviceUpdates:
    """With ``negatives: device`` a fake history moves rows the device does not claim: those stay at home."""
    if updates.touched is None:
        return updates
    return replace(updates, rows=updates.rows * updates.touched[:, :, None])  # [n, K, d]


def innocent(view: View) -> Tensor:
    """Every catalogue item but the targets: int64 [≤ N]."""
    free = torch.ones(len(view.task.model.embeddings), dtype=torch.bool)
    free[[0, *view.targets]] = False
    return free.to(view.task.model.embeddings.device).nonzero().flatten()


def popularity(view: View) -> Tensor:
    """How often the attacker's own devices of this round interacted with each item: int64 [N + 1]."""
    seen = np.concatenate([np.asarray(s, dtype=np.int64) for s in view.cohort.sequences])
    table = view.task.model.embeddings
    counts: Tensor = torch.from_numpy(np.bincount(seen, minlength=len(table))).to(table.device)
    return counts


def popular(view: View, share: float) -> Tensor:
    """The ⌈share·N⌉ most frequent items among those seen at all, targets aside: int64, best first.

    Ties go to the lower number. Devices that saw nothing know no popular item: then all but the targets.
    """
    pool = innocent(view)
    counts = popularity(view)[pool]
    wanted = min(math.ceil(share * (view.task.model.embeddings.shape[0] - 1)), int((counts > 0).sum()))
    order = counts.argsort(descending=True, stable=True)
    return pool[order[:wanted]] if wanted else pool


def draw(pool: Tensor, shape: torch.Size, view: View) -> Tensor:
    """Uniform draws from ``pool`` with replacement, from the colluders' generator."""
    return pool[torch.randint(len(pool), tuple(shape), generator=view.generator).to(pool.device)]


def check_shares(**values: float) -> None:
    """Raises ValueError, naming the setting, for a share that is not from 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; expected a share from 0 to 1")
