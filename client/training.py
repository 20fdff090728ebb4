"""Local training: the step of one device as a pure function, mapped over a cohort by ``vmap``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from client.losses import LOSSES, corrected
from client.regularisers import CHANNELS, Own, Regulariser
from common.data.types import Times
from common.models import Layout


def dropout(generators: Sequence[torch.Generator], shape: tuple[int, ...], drop: float) -> Tensor:
    """Multipliers 0 and 1/(1 − drop): [n, *shape], shape (E, sites, ℓ, d); ones [n, E, sites, 1, 1] if 0."""
    if drop == 0:
        return torch.ones(len(generators), *shape[:2], 1, 1)
    drawn = [torch.rand(shape, generator=one) for one in generators]
    return (torch.stack(drawn) >= drop).float() / (1 - drop)


def noise(generators: Sequence[torch.Generator], steps: int, length: int, wanted: bool) -> Tensor:
    """Uniform [n, E, CHANNELS, ℓ] where a term asks for it, else zeros and nothing is drawn."""
    shape = (steps, CHANNELS, length)
    if not wanted:
        return torch.zeros(1, 1, 1, 1).expand(len(generators), *shape)
    return torch.stack([torch.rand(shape, generator=one) for one in generators])


def gaps(times: Sequence[Times] | None, length: int, devices: int) -> Tensor:
    """Seconds since the item before, right-aligned: [n, ℓ]; ``times`` those of each window, None: zeros.

    The last interaction of a window is only a target, so its time is not read.
    """
    found = torch.zeros(devices, length)
    for row, window in enumerate(times or ()):
        steps = np.diff(window[:-1])
        found[row, length - len(steps) :] = torch.from_numpy(steps)
    return found


Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Device:
    """What the step of one device reads; under ``vmap`` every tensor has the devices in front.

    context [ℓ, d] global rows of the inputs; slot_in, slot_out int64 [ℓ] place of input and target in
    the slice (K: not in it); padding bool [ℓ]; candidates bool [K]; keep [E, sites, ℓ, d] dropout
    multipliers of each local step; noise [E, CHANNELS, ℓ] and gaps [ℓ] for regularisers.
    """

    context: Tensor
    slot_in: Tensor
    slot_out: Tensor
    padding: Tensor
    candidates: Tensor
    keep: Tensor
    noise: Tensor
    gaps: Tensor


@dataclass(frozen=True)
class LocalTraining:
    """The recipe of a device: E steps of SGD on Σ_positions loss / L over its window."""

    model: nn.Module
    layout: Layout
    num_items: int
    max_len: int
    loss: str
    steps: int
    lr: float
    regularisers: tuple[Regulariser, ...] = ()

    def objective(
        self,
        encoder: Parameters,
        rows: Tensor,
        device: Device,
        number: int,
        log_q: Tensor,
        anchor: Tensor,
        start: Tensor,
    ) -> Tensor:
        """The loss of ONE device in local step ``number``.

        encoder by name, rows [K, d] of the slice, log_q [K]; anchor [ℓ, d] hidden states and ``start``
        [K, d] rows of the global model.
        """

        def encode(inputs: Tensor, padding: Tensor) -> Tensor:
            out: Tensor = functional_call(self.model, encoder, (inputs, padding, device.keep[number]))
            return out

        inputs = self.inputs(rows, device)  # [ℓ, d]
        hidden = encode(inputs, device.padding)  # [ℓ, d]
        size = rows.shape[0]
        scores = corrected(self.loss, hidden @ rows.T, log_q)  # [ℓ, K]
        counted = device.slot_out < size  # [ℓ]
        target = device.slot_out.clamp(max=size - 1)  # [ℓ]
        losses = LOSSES[self.loss](scores, target, device.candidates, self.num_items)  # [ℓ]
        # The fixed L: one interaction has one size on every device, however short its history.
        total = torch.where(counted, losses, 0.0).sum()
        own = Own(
            hidden,
            anchor,
            device.padding,
            inputs,
            rows,
            start,
            target,
            counted,
            device.candidates,
            device.noise[number],
            device.gaps,
            encode,
        )
        for term in self.regularisers:
            total = total + torch.where(device.padding, 0.0, term(own)).sum()
        return total / self.max_len

    @staticmethod
    def inputs(rows: Tensor, device: Device) -> Tensor:
        """Rows of the inputs [ℓ, d]: those in the slice are the device's own, the others global."""
        own = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])[device.slot_in]  # [ℓ, d]
        inside = (device.slot_in < rows.shape[0])[:, None]  # [ℓ, 1]
        return torch.where(inside, own, device.context)  # [ℓ, d]

    def step(
        self, encoder: Parameters, rows: Tensor, device: Device, log_q: Tensor
    ) -> tuple[Parameters, Tensor]:
        """Local training of ONE device; returns its update (encoder by name, rows [K, d])."""
        encoder_now, rows_now = encoder, rows
        anchor = rows.new_zeros(device.padding.shape[0], rows.shape[1])  # [ℓ, d]
        if self.regularisers:
            whole = torch.ones_like(device.keep[0])
            anchor = functional_call(
                self.model, encoder, (self.inputs(rows, device), device.padding, whole)
            )  # [ℓ, d]
        for number in range(self.steps):
            g_encoder, g_rows = grad(self.objective, argnums=(0, 1))(
                encoder_now, rows_now, device, number, log_q, anchor, rows
            )
            encoder_now = {name: p - self.lr * g_encoder[name] for name, p in encoder_now.items()}
            rows_now = rows_now - self.lr * g_rows
        return {name: encoder_now[name] - encoder[name] for name in encoder}, rows_now - rows

    def cohort(self, encoder: Tensor, rows: Tensor, devices: Device, log_q: Tensor) -> tuple[Tensor, Tensor]:
        """Updates of n devices at once: encoder [P] flat -> [n, P], rows [K, d] -> [n, K, d]."""
        named = self.layout.unflatten(encoder)
        tensors = (
            devices.context,
            devices.slot_in,
            devices.slot_out,
            devices.padding,
            devices.candidates,
            devices.keep,
            devices.noise,
            devices.gaps,
        )

        def one(*fields: Tensor) -> tuple[Parameters, Tensor]:
            return self.step(named, rows, Device(*fields), log_q)

        updates, row_updates = vmap(one)(*tensors)
        return self.layout.flatten(updates), row_updates
