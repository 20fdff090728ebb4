"""Parity: one honest interaction with the target on each device, the yardstick for promotion attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from attacks.base import Attack
from client.cohort import Cohort
from common.data.ragged import Index
from common.data.types import Items
from common.seeding import generator


@dataclass(frozen=True)
class Parity(Attack):
    """s := (s_1 … s_k, target, s_k+1 …) at a place drawn once, and honest training on it ever after.

    What a device could do without cheating: its user might as well have bought the target once. Attackers
    who each imitate one honest interaction are a trend, which no rule can tell from another; what they gain
    beyond this attack is what cheating brings. One of several targets by draw; for a model that reads times
    it happened with the interaction ahead of it. A device that has it already is left as it is.
    """

    kind: ClassVar[str] = "data"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "own data"

    def slices(self, cohort: Cohort, targets: tuple[int, ...]) -> Index:
        return cohort.targets.most()

    def history(self, items: Items, number: int, targets: tuple[int, ...], seed: int) -> Items:
        if not targets:
            return items
        draw = generator(seed, "parity", number)
        target = targets[int(torch.randint(len(targets), (1,), generator=draw))]
        place = int(torch.randint(len(items) + 1, (1,), generator=draw))
        return items if target in items else np.insert(items, place, target).astype(items.dtype)
