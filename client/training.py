"""Local training: the loss of one device as a pure function; ``vmap`` makes the cohort of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from client.device_inputs import Device, Lookup
from client.losses import LOSSES, corrected
from client.regularisers import Own, Regulariser
from common.models import Layout

Parameters = dict[str, Tensor]


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
    lookup: Lookup = field(default_factory=Lookup)
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def cloze(self) -> bool:
        """Whether the model is not to see the items that it is asked for."""
        return bool(getattr(self.model, "cloze", 0.0))

    @property
    def timed(self) -> bool:
        """Whether the model reads how long ago an item was."""
        return bool(getattr(self.model, "timed", False))

    def _when(self, gaps: Tensor) -> dict[str, Tensor]:
        """The seconds before each item, for a model that reads them."""
        return {"gaps": gaps} if self.timed else {}

    def objective(
        self,
        encoder: Parameters,
        items: Tensor,
        inputs: Tensor,
        anchor: Tensor | None,
        log_q: Tensor | None,
        step: int,
        device: Device,
    ) -> Tensor:
        """The loss of ONE device in a local step.

        encoder by name, embeddings of the slice [K, d] and inputs [ℓ, d]: the three that it learns; anchor
        [ℓ, d] hidden states under the global model, None without regularisers; log_q [K].
        """

        def encode(items: Tensor, padding: Tensor, positions: Tensor | None = None, **more: Tensor) -> Tensor:
            keep = None if device.keep is None else device.keep[step]
            out: Tensor = functional_call(self.model, encoder, (items, padding, keep, positions), more)
            return out

        size = items.shape[0]
        inside = device.slot_out < size  # [ℓ]
        asked = None if device.asked is None else device.asked[step]  # [ℓ]
        if asked is not None:
            inside = inside & asked
        when = self._when(device.gaps)
        if anchor is not None:
            hidden = encode(inputs, device.padding, **when)  # [ℓ, d]
        if self.cloze and asked is not None:
            masked = torch.cat([torch.zeros_like(asked[:1]), asked[:-1]])  # [ℓ]: item t + 1 is asked for at t
            states = encode(inputs, device.padding, device.counted, masked=masked)  # [m, d]
        elif anchor is None:
            states = encode(inputs, device.padding, device.counted, **when)  # [m, d]
        else:
            states = hidden[device.counted]  # [m, d]
        target = device.slot_out.clamp(max=size - 1)  # [ℓ]
        own = target[device.counted]  # [m]
        losses = self._losses(states @ items.T, own, log_q, device.candidates)  # [m]
        # The fixed L: one interaction has one size on every device, however short its history.
        total = torch.where(inside[device.counted], losses, 0.0).sum()
        if anchor is not None:
            candidates = device.candidates
            if candidates is None:
                candidates = torch.ones(size, dtype=torch.bool, device=items.device)

            @cache
            def scores() -> Tensor:
                return hidden @ items.T  # [ℓ, K]

            def loss(answers: Tensor) -> Tensor:
                return self._losses(scores(), answers, log_q, device.candidates)  # [ℓ]

            seen = Own(
                hidden,
                anchor,
                device.padding,
                inputs,
                items,
                target,
                inside,
                candidates,
                device.noise[step],
                encode,
                loss,
                self._held(device, size),
            )
            for term in self.regularisers:
                total = total + torch.where(device.padding, 0.0, term(seen)).sum()
        return total / self.max_len

    def _held(self, device: Device, size: int) -> Tensor:
        """Items of the slice that are in the window of ONE device, bool [K]; with codes but for its first."""
        slot = torch.arange(size, device=device.slot_out.device)  # [K]
        held = (device.slot_out[:, None] == slot).any(0)
        return held if self.lookup.places is not None else held | (device.slot_in[:, :1] == slot).any(0)

    def _losses(
        self, scores: Tensor, answers: Tensor, log_q: Tensor | None, candidates: Tensor | None
    ) -> Tensor:
        """Of states with scores [m, K] and answers at places [m] of the slice: [m]."""
        scores = corrected(self.loss, scores, answers, log_q)
        found: Tensor = LOSSES[self.loss](scores, answers, candidates, self.num_items, **self.options)
        return found

    def cohort(
        self, encoder: Tensor, rows: Tensor, devices: Device, log_q: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Updates of n devices at once: encoder [P] flat, rows [R, d] -> [n, P], [n, R, d].

        In its first step a device's parameters are the global ones: one copy serves all.
        """
        named, anchor = self.layout.unflatten(encoder), None
        if self.regularisers:
            anchor = self._anchors(named, devices)
        start = self.lookup.items(rows)  # [K, d]
        slopes, row_slopes = self._slopes(
            named, rows, devices.context, anchor, start, log_q, 0, devices, own=False
        )
        change = torch.empty(len(row_slopes), self.layout.total, device=rows.device)
        for name, part in self.layout.unflatten(change).items():  # views: each slope is written to its place
            torch.mul(slopes[name], -self.lr, out=part)
        row_change = row_slopes.mul_(-self.lr)
        if self.steps == 1:
            return change, row_change
        named, own_rows = self.layout.unflatten(change.add_(encoder)), row_change.add_(rows)
        for step in range(1, self.steps):
            inputs = self.lookup.inputs(own_rows, devices)
            slopes, row_slopes = self._slopes(
                named, own_rows, inputs, anchor, start, log_q, step, devices, own=True
            )
            for name, part in named.items():
                part.sub_(slopes[name], alpha=self.lr)
            own_rows.sub_(row_slopes, alpha=self.lr)
        return change.sub_(encoder), own_rows.sub_(rows)

    def total(self, encoder: Tensor, items: Tensor, devices: Device, log_q: Tensor | None) -> Tensor:
        """Σ of n devices' losses under ONE model, 0-d, to be differentiated: what a centralised step lowers.

        encoder [P] flat, embeddings of the slice [K, d]; those of the inputs are ``devices.context``.
        """
        named, anchor = self.layout.unflatten(encoder), None
        if self.regularisers:
            with torch.no_grad():
                anchor = self._anchors(named, devices)
        tensors = [getattr(devices, field.name) for field in fields(Device)]

        def loss(anchor: Tensor | None, *of_one: Tensor) -> Tensor:
            device = Device(*of_one)
            return self.objective(named, items, device.context, anchor, log_q, 0, device)

        dims = [None if tensor is None else 0 for tensor in (anchor, *tensors)]
        return vmap(loss, tuple(dims))(anchor, *tensors).sum()

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
        """Gradients of one step: encoder by name [n, …], rows [n, R, d].

        own: encoder and rows have the devices in front.
        """
        tensors = [getattr(devices, field.name) for field in fields(Device)]  # None where there is nothing

        def gradient(
            encoder: Parameters, items: Tensor, inputs: Tensor, anchor: Tensor | None, *of_one: Tensor
        ) -> tuple[Parameters, Tensor, Tensor]:
            slopes: tuple[Parameters, Tensor, Tensor] = grad(self.objective, argnums=(0, 1, 2))(
                encoder, items, inputs, anchor, log_q, step, Device(*of_one)
            )
            return slopes

        first = 0 if own else None
        given = [None if tensor is None else 0 for tensor in tensors]
        dims = (first, first, 0, None if anchor is None else 0, *given)
        items = self.lookup.items(rows) if own else start  # [n, K, d], or [K, d] for all
        slopes, item_slopes, input_slopes = vmap(gradient, dims)(encoder, items, inputs, anchor, *tensors)
        return slopes, self.lookup.slopes(item_slopes, input_slopes, devices, rows.shape[-2])

    def _anchors(self, encoder: Parameters, devices: Device) -> Tensor:
        """Hidden states [n, ℓ, d] under the global model, without dropout."""

        def one(inputs: Tensor, padding: Tensor, gaps: Tensor) -> Tensor:
            out: Tensor = functional_call(self.model, encoder, (inputs, padding), self._when(gaps))  # [ℓ, d]
            return out

        found: Tensor = vmap(one)(devices.context, devices.padding, devices.gaps)
        return found
