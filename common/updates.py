"""What devices send: one update a device, all of one round equal in shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class DeviceUpdates:
    """Updates (parameters after local training minus the global ones) of n devices.

    encoder  float32 [n, P]     flattened in the order of :mod:`common.models.flat`
    rows     float32 [n, K, d]  updates of the table's rows, in the order of ``items``
    items    int32   [K]        which rows, unique and sorted: the items of the slice or, with codes, all rows
    touched  bool    [n, K]     rows a device trained; None when every device trained all K
    history  int32   [n]        interactions trained on: a claim, never trusted unbounded
    device   int64   [n]        the node's own stable number for the device
    idle     int64   [j]        devices with nothing to predict, which send no more than this
    """

    encoder: Tensor
    rows: Tensor
    items: Tensor
    history: Tensor
    device: Tensor
    touched: Tensor | None = None
    idle: Tensor | None = None

    def __len__(self) -> int:
        return self.encoder.shape[0]

    @cached_property
    def row_norms(self) -> Tensor:
        """‖g_ui‖ [n, K]: one pass over the rows for all who ask."""
        norms: Tensor = self.rows.norm(dim=2)
        return norms

    def take(self, index: Tensor) -> DeviceUpdates:
        """The devices at ``index`` (int64 [m], on any device), in that order."""
        index = index.to(self.encoder.device)
        return replace(
            self,
            encoder=self.encoder[index],
            rows=self.rows[index],
            history=self.history[index],
            device=self.device[index.to(self.device.device)],
            touched=None if self.touched is None else self.touched[index],
        )


def concatenate(parts: Sequence[DeviceUpdates], order: Tensor | None = None) -> DeviceUpdates:
    """All n devices of several replies of one round, in the order given, or in that of ``order`` int64 [n].

    Parts with their own items (``negatives: device``) are spread over the sorted union of the items:
    a row that a device does not hold is zero and not touched. Raises ValueError without parts.
    """
    if not parts:
        raise ValueError("nothing to concatenate")
    first = parts[0]
    if order is None or torch.equal(order, torch.arange(len(order))):
        place = torch.arange(sum(map(len, parts)))
        if len(parts) == 1:
            return first
    else:
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
    at = torch.split(place.to(first.rows.device), [len(part) for part in parts])  # where each part's go
    one_slice = all(p.touched is None and torch.equal(p.items, first.items) for p in parts)
    items = first.items if one_slice else torch.unique(torch.cat([p.items for p in parts]))
    if one_slice:
        rows, touched = _joined([p.rows for p in parts], at), None
    else:
        rows, touched = _spread(parts, items, at)
    return DeviceUpdates(
        encoder=_joined([p.encoder for p in parts], at),
        rows=rows,
        items=items,
        history=_joined([p.history for p in parts], at),
        device=_joined([p.device for p in parts], at),
        touched=touched,
    )


def _joined(parts: Sequence[Tensor], at: Sequence[Tensor]) -> Tensor:
    """One tensor [n, …] with the rows of each part where ``at`` says: every value is copied once."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for part, place in zip(parts, at, strict=True):
        whole[place] = part
    return whole


def onto(updates: DeviceUpdates, items: Tensor) -> DeviceUpdates:
    """The updates on ``items`` int32 [K], sorted: rows of other items are left out, missing ones are zero."""
    if torch.equal(updates.items, items):
        return updates
    kept = torch.isin(updates.items, items)  # [K of the updates]
    touched = None if updates.touched is None else updates.touched[:, kept]
    part = replace(updates, rows=updates.rows[:, kept], items=updates.items[kept], touched=touched)
    rows, held = _spread([part], items, [torch.arange(len(part))])
    return replace(part, rows=rows, items=items, touched=held)


def _spread(parts: Sequence[DeviceUpdates], items: Tensor, at: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows [n, K, d] and touched [n, K] of all parts over ``items`` [K], which holds every part's."""
    n, dim = sum(map(len, parts)), parts[0].rows.shape[2]
    rows = parts[0].rows.new_zeros(n, len(items), dim)
    touched = rows.new_zeros(n, len(items), dtype=torch.bool)
    every = rows.new_ones((), dtype=torch.bool)
    for part, place in zip(parts, at, strict=True):
        column = torch.searchsorted(items, part.items)  # [K of the part]
        rows[place[:, None], column] = part.rows
        touched[place[:, None], column] = every if part.touched is None else part.touched
    return rows, touched


TINY = 1e-12


def interaction_sizes(norms: Tensor) -> Tensor:
    """c_u = (Σ_i ‖g_ui‖⁴ / Σ_i ‖g_ui‖²)^½, float64 [n], from row norms [n, K].

    The energy-weighted root mean square of a device's row norms. A softmax pulls the row of each next
    item by about one size and spreads as much over all negatives, so weak rows hardly count, and the
    value does not depend on how many interactions the device has. 0 for a device without any.
    """
    square = norms.double().square()  # [n, K]
    return (square.square().sum(1) / square.sum(1).clamp_min(TINY)).sqrt()


@dataclass(frozen=True)
class UpdateSpec:
    """What the server expects of one node's reply.

    num_parameters P, dim d; items int32 [K], the rows to train (not used with ``negatives: device``);
    devices int64 [m], those asked of this node; max_bytes bounds the arrays of the reply, whoever sends it.
    max_touched: with ``negatives: device`` the rows that one device may name. Without a bound one device that
    names the whole catalogue would widen the rows of all others of the round.
    """

    run: str
    round: int
    num_parameters: int
    dim: int
    items: Tensor
    num_items: int
    devices: Tensor
    negatives: Literal["full", "slice", "device"] = "slice"
    max_bytes: int = 1 << 31
    max_touched: int = 1 << 31

    @property
    def limit(self) -> int:
        """Bytes of arrays that are read at all: ``max_bytes``, or twice a full float32 reply and 1 MiB."""
        own = min(self.num_items, len(self.devices) * self.max_touched)  # the union of what each may name
        rows = own if self.negatives == "device" else len(self.items)
        device = 4 * (self.num_parameters + rows * self.dim) + rows + 24  # values, touched, scales, numbers
        return min(self.max_bytes, 2 * (len(self.devices) * device + 4 * rows) + (1 << 20))
