"""Local training: the loss of one device as a pure function; ``vmap`` makes the cohort of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from client.losses import LOSSES, corrected
from client.regularisers import Own, Regulariser
from common.device import add_rows
from common.models import Layout

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Device:
    """What a local step of one device reads; in a cohort every tensor has the devices in front.

    context     [ℓ, d]               global rows of the inputs
    slot_in     int64 [ℓ]            place of the input in the slice, K: not in it; slot_out: of the target
    counted     int64 [m]            positions with a target in the slice, then others: the loss needs no more
    padding     bool [ℓ]
    candidates  bool [K]             rows that the device may score; None for all
    keep        [E, sites, ℓ, d]     dropout multipliers of each local step; None without dropout
    noise       [E, CHANNELS, ℓ]     for regularisers, as are gaps [ℓ]
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
        inputs: Tensor,
        anchor: Tensor | None,
        start: Tensor,
        log_q: Tensor | None,
        step: int,
        device: Device,
    ) -> Tensor:
        """The loss of ONE device in a local step.

        encoder by name, rows [K, d] of the slice and inputs [ℓ, d]: the three that it learns; anchor [ℓ, d]
        hidden states (None without regularisers) and ``start`` [K, d] rows of the global model; log_q [K].
        """

        def encode(items: Tensor, padding: Tensor, positions: Tensor | None = None) -> Tensor:
            keep = None if device.keep is None else device.keep[step]
            out: Tensor = functional_call(self.model, encoder, (items, padding, keep, positions))
            return out

        if anchor is None:
            states = encode(inputs, device.padding, device.counted)  # [m, d]
        else:
            hidden = encode(inputs, device.padding)  # [ℓ, d]
            states = hidden[device.counted]  # [m, d]
        size = rows.shape[0]
        inside = device.slot_out < size  # [ℓ]
        target = device.slot_out.clamp(max=size - 1)  # [ℓ]
        scores = corrected(self.loss, states @ rows.T, log_q)  # [m, K]
        losses = LOSSES[self.loss](scores, target[device.counted], device.candidates, self.num_items)  # [m]
        # The fixed L: one interaction has one size on every device, however short its history.
        total = torch.where(inside[device.counted], losses, 0.0).sum()
        if anchor is not None:
            candidates = device.candidates
            if candidates is None:
                candidates = torch.ones(size, dtype=torch.bool, device=rows.device)
            own = Own(
                hidden,
                anchor,
                device.padding,
                inputs,
                rows,
                start,
                target,
                inside,
                candidates,
                device.noise[step],
                device.gaps,
                encode,
            )
            for term in self.regularisers:
                total = total + torch.where(device.padding, 0.0, term(own)).sum()
        return total / self.max_len

    def cohort(
        self, encoder: Tensor, rows: Tensor, devices: Device, log_q: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Updates of n devices at once: encoder [P] flat, rows [K, d] -> [n, P], [n, K, d].

        In its first step a device's parameters are the global ones: one copy serves all.
        """
        named, anchor = self.layout.unflatten(encoder), None
        if self.regularisers:
            anchor = vmap(self._anchor, (None, 0, 0))(named, devices.context, devices.padding)
        slopes, row_slopes = self._slopes(
            named, rows, devices.context, anchor, rows, log_q, 0, devices, own=False
        )
        change = torch.empty(len(row_slopes), self.layout.total, device=rows.device)
        for name, part in self.layout.unflatten(change).items():  # views: each slope is written to its place
            torch.mul(slopes[name], -self.lr, out=part)
        row_change = row_slopes.mul_(-self.lr)
        if self.steps == 1:
            return change, row_change
        named, own_rows = self.layout.unflatten(change.add_(encoder)), row_change.add_(rows)
        for step in range(1, self.steps):
            inputs = self._inputs(own_rows, devices)
            slopes, row_slopes = self._slopes(
                named, own_rows, inputs, anchor, rows, log_q, step, devices, own=True
            )
            for name, part in named.items():
                part.sub_(slopes[name], alpha=self.lr)
            own_rows.sub_(row_slopes, alpha=self.lr)
        return change.sub_(encoder), own_rows.sub_(rows)

    def _slopes(
        self,
        encoder: Parameters,
        rows: Tensor,
        inputs: Tensor,
        anchor: Tensor | None,
        start: Tensor,
        log_q: Tensor | None,
        step: int,
        devices: Device,
        own: bool,
    ) -> tuple[Parameters, Tensor]:
        """Gradients of one step: encoder by name [n, …], rows [n, K, d].

        own: encoder and rows have the devices in front.
        """
        tensors = [getattr(devices, field.name) for field in fields(Device)]  # None where there is nothing

        def gradient(
            encoder: Parameters, rows: Tensor, inputs: Tensor, anchor: Tensor | None, *of_one: Tensor
        ) -> tuple[Parameters, Tensor, Tensor]:
            slopes: tuple[Parameters, Tensor, Tensor] = grad(self.objective, argnums=(0, 1, 2))(
                encoder, rows, inputs, anchor, start, log_q, step, Device(*of_one)
            )
            return slopes

        first = 0 if own else None
        given = [None if tensor is None else 0 for tensor in tensors]
        dims = (first, first, 0, None if anchor is None else 0, *given)
        slopes, row_slopes, input_slopes = vmap(gradient, dims)(encoder, rows, inputs, anchor, *tensors)
        n, size, dim = row_slopes.shape
        row_slopes = row_slopes.contiguous()
        # A row that is an input too learns as one: its slopes as an input are added to those as an item.
        inside = (devices.slot_in < size)[:, :, None]  # [n, ℓ, 1]
        place = (
            devices.slot_in.clamp(max=size - 1) + size * torch.arange(n, device=rows.device)[:, None]
        )  # [n, ℓ]
        as_inputs = torch.where(inside, input_slopes, 0.0)  # [n, ℓ, d]
        add_rows(row_slopes.view(n * size, dim), place.flatten(), as_inputs.flatten(0, 1))
        return slopes, row_slopes

    def _anchor(self, encoder: Parameters, inputs: Tensor, padding: Tensor) -> Tensor:
        """Hidden states [ℓ, d] of ONE device under the global model, without dropout."""
        out: Tensor = functional_call(self.model, encoder, (inputs, padding))
        return out

    @staticmethod
    def _inputs(rows: Tensor, devices: Device) -> Tensor:
        """Rows of the inputs [n, ℓ, d]: those in the slice are the device's own, the others global."""
        size = rows.shape[1]
        place = devices.slot_in.clamp(max=size - 1)[:, :, None].expand_as(devices.context)  # [n, ℓ, d]
        return torch.where((devices.slot_in < size)[:, :, None], rows.gather(1, place), devices.context)
