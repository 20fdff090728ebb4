"""What devices send: one update a device, all of one round equal in shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    items    int32   [K]        which rows, unique and sorted: the items of the slice ([m, K] of several) or,
                                with codes, all rows
    touched  bool    [n, K]     rows a device trained; None when every device trained all K
    history  int32   [n]        interactions trained on: a claim, never trusted unbounded
    device   int64   [n]        the node's own stable number for the device
    idle     int64   [j]        devices with nothing to predict, which send no more than this
    slice    int64   [n]        of several slices the one that each device trained; None where there is one

    Of several slices a device holds the rows of its own alone: K rows each, however many slices there are.
    """

    encoder: Tensor
    rows: Tensor
    items: Tensor
    history: Tensor
    device: Tensor
    touched: Tensor | None = None
    idle: Tensor | None = None
    slice: Tensor | None = None

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
            slice=None if self.slice is None else self.slice[index.to(self.slice.device)],
        )

    def of_slice(self, number: int) -> DeviceUpdates:
        """The devices that trained slice ``number``, in their order, as in a round of this slice alone.

        Nothing is copied where they stand side by side, as admission has them.
        """
        assert self.slice is not None
        theirs = (self.slice == number).nonzero().flatten()
        low = int(theirs[0]) if len(theirs) else 0
        high = low + len(theirs)
        if len(theirs) and int(theirs[-1]) != high - 1:
            return replace(self.take(theirs), items=self.items[number], slice=None, idle=None)
        return DeviceUpdates(
            encoder=self.encoder[low:high],
            rows=self.rows[low:high],
            items=self.items[number],
            history=self.history[low:high],
            device=self.device[low:high],
        )

    def by_slice(self) -> Iterator[tuple[Tensor, DeviceUpdates]]:
        """Places int64 [n_j] and updates of those who trained slice j, for each j; all where there is one."""
        if self.slice is None:
            yield torch.arange(len(self)), self
            return
        for number in torch.unique(self.slice).tolist():
            yield (self.slice == number).nonzero().flatten(), self.of_slice(number)


def concatenate(parts: Sequence[DeviceUpdates], order: Tensor | None = None) -> DeviceUpdates:
    """All n devices of several replies of one round, in the order given, or in that of ``order`` int64 [n].

    Parts with their own items (``negatives: device``) are spread over the sorted union of the items:
    a row that a device does not hold is zero and not touched. Raises ValueError without parts.
    """
    return merged(list(parts), order)


def merged(parts: list[DeviceUpdates], order: Tensor | None = None) -> DeviceUpdates:
    """As :func:`concatenate`, but empties ``parts``: of what is moved only one part is there twice."""
    if not parts:
        raise ValueError("nothing to concatenate")
    first = parts[0]
    if order is None or torch.equal(order, torch.arange(len(order))):
        place = torch.arange(sum(map(len, parts)))
        if len(parts) == 1:
            return parts.pop()
    else:
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
    n, dim, where = len(place), first.rows.shape[2], first.rows.device
    one_slice = all(p.touched is None and torch.equal(p.items, first.items) for p in parts)
    items = first.items if one_slice else torch.unique(torch.cat([p.items for p in parts]))
    size = items.shape[-1]
    # Memory that nobody wrote to is none yet, so that it comes as the parts go.
    whole = DeviceUpdates(
        encoder=first.encoder.new_empty(n, first.encoder.shape[1]),
        rows=(first.rows.new_empty if one_slice else first.rows.new_zeros)(n, size, dim),
        items=items,
        history=first.history.new_empty(n),
        device=first.device.new_empty(n),
        touched=None if one_slice else torch.zeros(n, size, dtype=torch.bool, device=where),
        slice=None if first.slice is None else first.slice.new_empty(n),
    )
    ends = torch.tensor([len(part) for part in parts]).cumsum(0).tolist()
    at = iter(torch.tensor_split(place, ends[:-1]))  # where each part's go
    del first
    while parts:
        _put(parts.pop(0), whole, next(at))
    return whole


def _put(part: DeviceUpdates, whole: DeviceUpdates, place: Tensor) -> None:
    """Write ``part`` of m devices into ``whole`` at ``place`` int64 [m]."""
    for values, everyone in ((part.device, whole.device), (part.slice, whole.slice)):
        if values is not None and everyone is not None:  # maybe on the CPU when the rest is on a card
            everyone[place.to(values.device)] = values
    place = place.to(part.rows.device)
    whole.encoder[place] = part.encoder
    whole.history[place] = part.history
    _put_rows(part, whole, place)


def _put_rows(part: DeviceUpdates, whole: DeviceUpdates, place: Tensor) -> None:
    """The rows alone, each in the column of its item where the parts have their own."""
    if whole.touched is None:
        whole.rows[place] = part.rows
        return
    column = torch.searchsorted(whole.items, part.items)  # [K of the part]
    every = part.rows.new_ones((), dtype=torch.bool)
    whole.rows[place[:, None], column] = part.rows
    whole.touched[place[:, None], column] = every if part.touched is None else part.touched


def of_slices(parts: Sequence[tuple[int, DeviceUpdates]], items: Tensor) -> DeviceUpdates:
    """All devices of (number of a slice, updates of it) pairs; ``items``: of all slices, int32 [m, K].

    Of one slice, items [K], it is what that one has.
    """
    if items.dim() == 1:
        (_, only), *_ = parts
        return only
    named = [replace(part, items=items, slice=torch.full((len(part),), number)) for number, part in parts]
    return concatenate(named)


def onto(updates: DeviceUpdates, items: Tensor) -> DeviceUpdates:
    """The updates on ``items`` int32 [K], sorted: rows of other items are left out, missing ones are zero."""
    if torch.equal(updates.items, items):
        return updates
    kept = torch.isin(updates.items, items)  # [K of the updates]
    touched = None if updates.touched is None else updates.touched[:, kept]
    part = replace(updates, rows=updates.rows[:, kept], items=updates.items[kept], touched=touched)
    n = len(part)
    rows = part.rows.new_zeros(n, len(items), part.rows.shape[2])
    whole = replace(part, rows=rows, items=items, touched=rows.new_zeros(n, len(items), dtype=torch.bool))
    _put_rows(part, whole, torch.arange(n, device=rows.device))
    return whole


TINY = 1e-12


STRONG = 0.5
"""A row that moves by this share of an interaction or more counts as that of a next item (docs/method.md)."""


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

    num_parameters P, dim d; items int32 [K], the rows to train, or [m, K] of several slices (not used with
    ``negatives: device``);
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
        rows = own if self.negatives == "device" else self.items.shape[-1]
        device = 4 * (self.num_parameters + rows * self.dim) + rows + 24  # values, touched, scales, numbers
        return min(self.max_bytes, 2 * (len(self.devices) * device + 4 * rows) + (1 << 20))
