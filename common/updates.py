"""What devices send: one update a device, all of one round equal in shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class DeviceUpdates:
    """Updates (parameters after local training minus the global ones) of n devices.

    encoder  float32 [n, P]     flattened in the order of :mod:`common.models.flat`
    rows     float32 [n, K, d]  item-row updates, in the order of ``items``
    items    int32   [K]        the slice: unique, sorted catalogue numbers
    touched  bool    [n, K]     rows a device trained; None when every device trained all K
    history  int32   [n]        interactions trained on: a claim, never trusted unbounded
    device   int64   [n]        the node's own stable number for the device
    """

    encoder: Tensor
    rows: Tensor
    items: Tensor
    history: Tensor
    device: Tensor
    touched: Tensor | None = None

    def __len__(self) -> int:
        return self.encoder.shape[0]

    def take(self, index: Tensor) -> DeviceUpdates:
        """The devices at ``index`` (int64 [m]), in that order."""
        return replace(
            self,
            encoder=self.encoder[index],
            rows=self.rows[index],
            history=self.history[index],
            device=self.device[index],
            touched=None if self.touched is None else self.touched[index],
        )


def concatenate(parts: Sequence[DeviceUpdates]) -> DeviceUpdates:
    """All devices of several replies of one round, in the order given."""
    first = parts[0]
    touched = [p.touched for p in parts if p.touched is not None]
    return DeviceUpdates(
        encoder=torch.cat([p.encoder for p in parts]),
        rows=torch.cat([p.rows for p in parts]),
        items=first.items,
        history=torch.cat([p.history for p in parts]),
        device=torch.cat([p.device for p in parts]),
        touched=torch.cat(touched) if touched else None,
    )
