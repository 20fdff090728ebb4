"""What a local step reads of a device, and how it looks up the rows that are trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.codes import summed
from common.device import add_rows


@dataclass(frozen=True)
class Device:
    """What a local step of one device reads; in a cohort every tensor has the devices in front.

    context     [ℓ, d]               global rows of the inputs
    slot_in     int64 [ℓ, B]         places of the input's rows among those trained, R: not among them
    slot_out    int64 [ℓ]            place of the target in the slice, K: not in it
    counted     int64 [m]            positions with a target in the slice, then others: the loss needs no more
    padding     bool [ℓ]
    candidates  bool [K]             rows that the device may score; None for all
    keep        [E, sites, ℓ, d]     dropout multipliers of each local step; None without dropout
    noise       [E, CHANNELS, ℓ]     for regularisers
    gaps        [ℓ]                  seconds since the item before, for models that read them
    asked       bool [E, ℓ]          next items that the loss is at in each step; None for all
    """

    context: Tensor
    slot_in: Tensor
    slot_out: Tensor
    counted: Tensor
    padding: Tensor
    candidates: Tensor | None
    keep: Tensor | None
    noise: Tensor
    gaps: Tensor
    asked: Tensor | None = None


@dataclass(frozen=True)
class Lookup:
    """How the K items of the slice are made of the R rows that are trained: each is one of them, or with
    codes the sum of B, times ``scale``.

    places  int64 [K, B]  of the rows among those trained; None where row k is item k's own
    """

    places: Tensor | None = None
    scale: float = 1.0

    def items(self, rows: Tensor) -> Tensor:
        """Embeddings of the slice: rows [..., R, d] -> [..., K, d]."""
        return rows if self.places is None else self.scale * summed(rows, self.places)

    def inputs(self, rows: Tensor, devices: Device) -> Tensor:
        """Embeddings [n, ℓ, d] of the inputs: of rows [n, R, d] that are trained, the others' global."""
        size = rows.shape[1]
        place = devices.slot_in.clamp(max=size - 1)  # [n, ℓ, B]
        total = rows.gather(1, place[:, :, 0, None].expand_as(devices.context))  # [n, ℓ, d]
        for book in range(1, place.shape[2]):
            total = total + rows.gather(1, place[:, :, book, None].expand_as(devices.context))
        total = total if self.places is None else self.scale * total
        return torch.where(devices.slot_in[:, :, :1] < size, total, devices.context)

    def slopes(self, items: Tensor, inputs: Tensor, devices: Device, size: int) -> Tensor:
        """Slopes [n, R, d] of the rows, R = ``size``, from those of the slice [n, K, d] and inputs [n, ℓ, d].

        A row that several items share, or an input and an item, learns as one: their slopes are added.
        """
        n, _, dim = items.shape
        first = size * torch.arange(n, device=items.device)[:, None]  # [n, 1]: where a device's rows begin
        inputs = torch.where(devices.slot_in[:, :, :1] < size, inputs, 0.0)  # [n, ℓ, d]
        total = items.contiguous()
        if self.places is not None:
            items, inputs = self.scale * items, self.scale * inputs
            total = items.new_zeros(n, size, dim)
            for place in self.places.T:  # [K]
                add_rows(total.view(n * size, dim), (place + first).flatten(), items.flatten(0, 1))
        for place in devices.slot_in.clamp(max=size - 1).unbind(2):  # [n, ℓ]
            add_rows(total.view(n * size, dim), (place + first).flatten(), inputs.flatten(0, 1))
        return total


def places(numbers: Tensor, size: int) -> Tensor:
    """Where each of 0 to ``size`` - 1 stands in ``numbers`` [K], K for one that does not: int64 [size]."""
    found = torch.full((size,), len(numbers), device=numbers.device)
    found[numbers.long()] = torch.arange(len(numbers), device=numbers.device)
    return found


def counted(inside: Tensor) -> Tensor:
    """Positions with a target in the slice, then others, as many as the device with the most has.

    bool [n, ℓ] -> int64 [n, m], m at least 1.
    """
    most = max(1, int(inside.sum(1).max())) if len(inside) else 1
    return (~inside).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
