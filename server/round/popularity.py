"""The server's running estimate of item popularity, read off the updates themselves.

A device whose history holds item i pulls row i up with a full-size update; one that has i only as a
negative pushes it weakly. Counting the strong row updates so estimates how many devices hold the item:
no device says what it has, each counts once, and an attacker's claim is bounded by its devices.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from common.updates import DeviceUpdates
from server.aggregators.stages import interaction_size

PRIOR = 20.0
"""Appearances with no pull that every item starts with: a flat start that fades."""

STRONG = 0.5
"""A row update counts as a pull from this share of the cohort's interaction size c on."""

TRAINED, PUSHED, PULLED = 1, 2, 3
"""What a device did to a row: moved it a little, strongly away from the users, strongly otherwise."""


def marks(updates: DeviceUpdates) -> Tensor:
    """What each device did to each row: int8 [n, K], 0 where it has none.

    An item that is recommended too widely is pushed away strongly by those who do not hold it. Which way is
    away, the weak updates show: most are of items that a device has as negatives. Each device has one vote.
    """
    norms = updates.row_norms  # [n, K]
    strong = norms > STRONG * interaction_size(norms)  # [n, K]
    weak = (~strong).to(updates.rows.dtype)[:, None] @ updates.rows  # [n, 1, K] @ [n, K, d] -> [n, 1, d]
    away = F.normalize(weak[:, 0], dim=1).sum(0)  # [d]
    found = torch.full_like(norms, TRAINED, dtype=torch.int8)  # [n, K]
    found[strong] = torch.where(updates.rows[strong] @ away > 0, PUSHED, PULLED).to(torch.int8)
    return found if updates.touched is None else found * updates.touched


def observe(pulls: Tensor, seen: Tensor, items: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Counts float64 [N] after a round of ``items`` [K] with these marks: pulls_i += devices that moved row
    i strongly, seen_i += devices that trained it."""
    index = items.long() - 1
    return (
        pulls.index_add(0, index, (found > TRAINED).sum(0).double()),
        seen.index_add(0, index, (found > 0).sum(0).double()),
    )


def estimate(pulls: Tensor, seen: Tensor, devices: int) -> Tensor:
    """Popularity [N]: devices · pulls / (seen + prior)."""
    return devices * pulls / (seen + PRIOR)
