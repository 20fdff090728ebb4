"""The server's running estimate of item popularity, read off the updates themselves.

A device whose history holds item i pulls row i up with a full-size update; one that has i only as a
negative pushes it weakly. Counting the strong row updates so estimates how many devices hold the item:
no device says what it has, each counts once, and an attacker's claim is bounded by its devices.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from common.updates import STRONG, DeviceUpdates
from server.aggregators.stages import interaction_size
from server.constraints.panel import PULLED, PUSHED, TRAINED

PRIOR = 20.0
"""Appearances with no pull that every item starts with: a flat start that fades."""

HELD = 1 << 23
"""Numbers of strong rows that are held at a time."""


def marks(updates: DeviceUpdates) -> Tensor:
    """What each device did to each row: int8 [n, K], 0 where it has none.

    An item that is recommended too widely is pushed away strongly by those who do not hold it. Which way is
    away, the weak updates show: most are of items that a device has as negatives. Each device has one vote.
    """
    norms = updates.row_norms  # [n, K]
    strong = norms > STRONG * interaction_size(norms)  # [n, K]
    weak = (~strong).to(updates.rows.dtype)[:, None] @ updates.rows  # [n, 1, K] @ [n, K, d] -> [n, 1, d]
    away = F.normalize(weak[:, 0], dim=1).sum(0)  # [d]
    row_marks = torch.full_like(norms, TRAINED, dtype=torch.int8)  # [n, K]
    some = max(1, HELD // max(1, updates.rows[:1].numel()))
    blocks = (torch.split(whole, some) for whole in (updates.rows, strong, row_marks))
    for rows, moved, found in zip(
        *blocks, strict=True
    ):  # the strong rows are copied: of a few devices at a time
        found[moved] = torch.where(rows[moved] @ away > 0, PUSHED, PULLED).to(torch.int8)
    return row_marks if updates.touched is None else row_marks * updates.touched


def of_items(row_marks: Tensor, numbers: Tensor, wanted: Tensor) -> Tensor:
    """What each device did to each item, int8 [n, K], where an item is several rows: their least mark.

    A device holds an item, as far as its update shows, if it moved all of the item's rows strongly: the test
    of a Bloom filter (Bloom 1970, doi 10.1145/362686.362692). No item that it holds is missed for its codes;
    of the others the share s^B counts as held where a share s of the rows is strong.

    row_marks int8 [n, R] of the rows ``numbers`` int32 [R], sorted; wanted int64 [K, B]: the items' rows.
    """
    place = torch.searchsorted(numbers.long(), wanted)  # [K, B]
    least = row_marks[:, place[:, 0]]  # [n, K]
    for book in place.T[1:]:
        least = torch.minimum(least, row_marks[:, book])
    return least


def observe(pulls: Tensor, trained: Tensor, items: Tensor, row_marks: Tensor) -> tuple[Tensor, Tensor]:
    """Counts float64 [N] after a round of ``items`` [K] with these marks: pulls_i += devices that moved row
    i strongly, trained_i += devices that trained it."""
    index = items.long() - 1
    return (
        pulls.index_add(0, index, (row_marks > TRAINED).sum(0).double()),
        trained.index_add(0, index, (row_marks > 0).sum(0).double()),
    )


def estimate(pulls: Tensor, trained: Tensor, devices: int) -> Tensor:
    """Popularity [N]: devices · pulls / (trained + prior)."""
    return devices * pulls / (trained + PRIOR)
