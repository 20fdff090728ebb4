"""What attackers know of honest updates: those of their own devices or all, and the statistics of these."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attacks.base import View
from common.updates import DeviceUpdates, onto


def vectors(updates: DeviceUpdates) -> Tensor:
    """Encoder and rows of each device side by side: [n, D], D = P + K·d."""
    return torch.cat([updates.encoder, updates.rows.flatten(1)], dim=1)


def own_honest(updates: DeviceUpdates) -> Tensor:
    """The vectors [m, D] of the own devices that had something to learn; m may be 0.

    Idle devices send zeros, which admission leaves out: they are no sample of what the server combines.
    """
    every = vectors(updates)  # [n, D]
    return every[every.any(dim=1)]


def known_honest(updates: DeviceUpdates, view: View) -> Tensor:
    """The honest vectors [m, D] that the attack may look at: ``updates`` are those of the own devices.

    With ``knowledge: full`` those of all honest devices of the round, and of them alone, on the rows that
    the own devices may send.
    """
    if view.honest is None:
        return own_honest(updates)
    return own_honest(onto(view.honest, updates.items))


def crowd(updates: DeviceUpdates, view: View, share: float) -> int:
    """How many devices answer in the round: counted with ``knowledge: full``, else own devices over share."""
    return round(len(updates) / share) if view.honest is None else len(updates) + len(view.honest)


def moments(own: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [D] of own [m, D] over the devices.

    The deviation is that of the sample itself (divided by m): with one device it is 0, so that an attack
    which hides within the deviation has nowhere to hide and sends the honest update.
    """
    return own.mean(dim=0), own.std(dim=0, correction=0)


def rms(values: Tensor) -> Tensor:
    """Root of the mean square; 0 of nothing."""
    return values.square().mean().sqrt() if values.numel() else values.new_zeros(())


def send(updates: DeviceUpdates, poison: Tensor) -> DeviceUpdates:
    """``poison`` [D] for every device, or [n, D] one each, in place of their own updates.

    With ``negatives: device`` each keeps to the rows that it says it touched; others would be refused.
    """
    each = poison.expand(len(updates), -1)  # [n, D]
    first = updates.encoder.shape[1]
    rows = each[:, first:].reshape(updates.rows.shape)  # [n, K, d]
    return replace(updates, encoder=each[:, :first].clone(), rows=own_rows(updates, rows))


def own_rows(updates: DeviceUpdates, rows: Tensor) -> Tensor:
    """A copy of rows [n, K, d], or of [K, d] for all, with zeros where a device does not hold the row."""
    each = rows.expand(updates.rows.shape)  # [n, K, d]
    return each.clone() if updates.touched is None else each * updates.touched[:, :, None]
