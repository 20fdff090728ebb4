"""Who holds what, by device: a count that pulling a row again and again does not raise.

The estimate of server/popularity.py counts pulls a round. A device with a long history shows an item in
some of its windows only, an attacker pulls its target whenever it is asked; here each device counts once,
for all the rounds it took part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from server.aggregators.base import State
from server.aggregators.memory import recalled, remembered, signed
from server.popularity import PULLED

MEMORY = 1 << 24
"""Bytes that the marks may take, one a device and item: devices seen longest ago are forgotten."""

PRIOR = 5.0
"""Devices without the item that every item starts with."""


@dataclass(frozen=True)
class Seen:
    """What one round showed: marks int8 [n, K] of the devices ``identity`` [n] on ``items`` [K].

    ``newcomers``: those of ``identity`` that their node did not enrol with at first.
    """

    round: int
    identity: Sequence[tuple[int, int]]
    items: Tensor
    marks: Tensor
    newcomers: frozenset[tuple[int, int]] = frozenset()


def met(panel: State, seen: Seen, num_items: int) -> State:
    """The panel after a round: the strongest mark of each device on each item so far, int8 [M, N]."""
    first = [k for k, who in enumerate(seen.identity) if who not in seen.newcomers]
    identity = signed([seen.identity[k] for k in first])  # [n, 2]
    known = recalled(panel, identity, num_items).to(torch.int8)  # [n, N]
    index = seen.items.long() - 1
    known[:, index] = torch.maximum(known[:, index], seen.marks[first])
    return remembered(panel, identity, known, seen.round, max(1, MEMORY // num_items))


def holders(panel: State) -> Tensor:
    """The share of the devices that ever trained row i which ever pulled it: float64 [N] in [0, 1)."""
    marks = panel["history"]  # [M, N]
    return _count(marks == PULLED).double() / (_count(marks > 0) + PRIOR)


def _count(found: Tensor) -> Tensor:
    """Σ_u found_u: bool [M, N] -> int64 [N]; in bytes, as many devices at a time as one holds."""
    total = torch.zeros(found.shape[1], dtype=torch.int64)
    for some in torch.split(found, 255):
        total += some.to(torch.uint8).sum(0, dtype=torch.uint8)
    return total
