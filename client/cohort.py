"""Train many devices of one node: windows → buckets → bounded chunks → DeviceUpdates."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from client.batch import Batch, Histories, Rows, buckets, gaps_of, make_batch, rows_of, window_starts
from client.device_inputs import Device, Lookup, counted, places
from client.losses import options
from client.precision import precision
from client.regularisers import CHANNELS, build_regularisers
from client.targets import CohortDraws, Targets
from client.training import LocalTraining
from common.data.ragged import Index, Ragged
from common.data.types import Items, Times
from common.models import layout_of, template
from common.seeding import Key
from common.tasks import TrainTask
from common.updates import DeviceUpdates

CHUNK_FLOATS, CARD_FLOATS = 96_000_000, 1_000_000_000
"""Bounds on the intermediate values of one vmapped chunk: about 400 MB on a CPU, 4 GB on a card."""

Relabel = Callable[[Batch, Sequence[int]], Batch]
"""A data poisoner's door: (batch, device numbers) -> batch of equal shape."""


@dataclass(frozen=True)
class Cohort:
    """The devices ``numbers`` of one task with their training sequences.

    wanted: items that every device adds to its own rows with ``negatives: device`` (an attack's targets).
    times: seconds of each interaction of ``sequences``, where the log has them; models may ask.
    key: window, dropout, negatives and noise are drawn from it. Fresh by default, and told nobody.
    """

    task: TrainTask
    numbers: Sequence[int] | Index
    sequences: Sequence[Items] | Histories
    wanted: Sequence[int] = ()
    times: Sequence[Times] | Ragged[np.float64] | None = None
    key: Key = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @cached_property
    def devices(self) -> Index:
        """The device numbers, int64 [n]."""
        return np.asarray(self.numbers, dtype=np.int64)

    @cached_property
    def draws(self) -> CohortDraws:
        """What the devices draw."""
        return CohortDraws(self.key, self.task.round, self.devices)

    def take(self, rows: Sequence[int] | Index) -> Cohort:
        """The devices at ``rows`` of this cohort, as if nobody else trained."""
        chosen = np.asarray(rows, dtype=np.int64)
        times = None if self.times is None else Ragged.of(self.times, np.float64).take(chosen)
        sequences = Ragged.of(self.sequences, np.int32).take(chosen)
        taken = replace(self, numbers=self.devices[chosen], sequences=sequences, times=times)
        if "windows" in vars(self):  # a device's window is its own draw: it need not be drawn again
            vars(taken)["windows"] = self.windows.take(chosen)
        return taken

    def busy(self) -> Index:
        """Places int64 [m] of the devices with a next item in their slice; of all where others learn too.

        The others' updates would be zeros. Terms of the loss may move a device that predicts nothing, and
        with ``negatives: device`` its own rows are its slice.
        """
        task = self.task
        terms = build_regularisers(task.client_config.regularisers, task.model_config)
        if task.train_config.negatives == "device" or any(term.moves_all for term in terms):
            return np.arange(len(self.devices))
        return np.flatnonzero(self.targets.per_slice.any(axis=1))

    @cached_property
    def model(self) -> nn.Module:
        """The encoder, without the task's parameters."""
        return template(self.task.model_config, self.task.model.table.device, training=True)

    @cached_property
    def targets(self) -> Targets:
        """The next items that the devices train on."""
        return Targets(self.task, self.windows, getattr(self.model, "cloze", 0.0), self.draws)

    def by_slice(self, chosen: Index | None = None) -> list[tuple[int, Cohort]]:
        """(number, devices that train that slice, with its task) for each slice that somebody takes.

        A device takes the slice that holds most next items of its window, or ``chosen`` int64 [n]. One slice,
        and a cohort of nobody, are one part.
        """
        if self.task.train_config.slices == 1:
            return [(0, self)]
        chosen = self.targets.most() if chosen is None else chosen
        return [
            (number, replace(self.take(np.flatnonzero(chosen == number)), task=self.task.of_slice(number)))
            for number in np.unique(chosen).tolist() or [0]
        ]

    @cached_property
    def windows(self) -> Histories:
        """The stretch of its sequence that each device trains on."""
        return self._windowed(Ragged.of(self.sequences, np.int32))

    def _windowed(self, sequences: Ragged[Any]) -> Ragged[Any]:
        length = self.task.model_config.max_len
        random = self.task.train_config.window == "random"
        starts = window_starts(sequences.lengths, length, self.draws("window") if random else None)
        return sequences.last(sequences.lengths - starts).first(length + 1)

    @cached_property
    def rows(self) -> Rows:
        return rows_of(self.task, self.windows, self.draws("negatives"), self.wanted)

    def train(self, relabel: Relabel | None = None) -> DeviceUpdates:
        """The update of every device, in the order of ``numbers``."""
        task, rows = self.task, self.rows
        n, size, dim = len(self.devices), len(rows.numbers), task.model.table.shape[1]
        training, where = self._training(), task.model.table.device
        encoder = torch.empty(n, task.model.encoder.shape[0], device=where)
        row_updates = torch.empty(n, size, dim, device=where)
        start = task.model.table[rows.numbers.long()]  # [R, d]
        for index, devices in self._chunks(training, rows, relabel):
            with precision(task.train_config.precision, where):
                change, row_change = training.cohort(task.model.encoder, start, devices, rows.log_q)
            encoder.index_copy_(0, index, change)
            row_updates.index_copy_(0, index, row_change)
        return DeviceUpdates(
            encoder=encoder,
            rows=row_updates,
            items=rows.numbers,
            history=torch.from_numpy(self.windows.lengths.astype(np.int32)).to(where),
            device=torch.from_numpy(self.devices),
            touched=rows.candidates,
        )

    def losses(self) -> Iterator[Tensor]:
        """Σ of the losses of some devices after others, 0-d tensors that lead back to the task's model."""
        training, rows = self._training(), self.rows
        for _, devices in self._chunks(training, rows, None):
            items = self.task.model.embed(rows.items)  # [K, d]
            yield training.total(self.task.model.encoder, items, devices, rows.log_q)

    def _training(self) -> LocalTraining:
        task = self.task
        return LocalTraining(
            model=self.model,
            layout=layout_of(self.model),
            num_items=task.model.num_items,
            max_len=task.model_config.max_len,
            loss=task.train_config.loss,
            steps=task.train_config.local_steps,
            lr=task.train_config.local_lr,
            regularisers=build_regularisers(task.client_config.regularisers, task.model_config),
            lookup=self._lookup(),
            options=options(task.train_config),
        )

    @cached_property
    def _slots(self) -> Tensor:
        """Places in the slice of items 0 to N, int64 [N + 1]."""
        return places(self.rows.items, self.task.model.num_items + 1)

    @cached_property
    def _row_slots(self) -> Tensor:
        """Places of the table's rows among those that are trained, int64 [R + 1]."""
        model = self.task.model
        return self._slots if model.codes is None else places(self.rows.numbers, len(model.table))

    def _lookup(self) -> Lookup:
        model, rows = self.task.model, self.rows
        if model.codes is None:
            return Lookup()
        return Lookup(self._row_slots[model.numbers(rows.items)], model.codes.scale)

    def _chunks(
        self, training: LocalTraining, rows: Rows, relabel: Relabel | None
    ) -> Iterator[tuple[Tensor, Device]]:
        size, where = len(rows.items), rows.items.device
        for length, members in buckets(self.windows.lengths - 1, training.max_len):
            passes = 1 + sum(term.passes for term in training.regularisers)
            per_device = (
                6 * passes * (length * size + training.layout.total)
                + 4 * max(size, len(rows.numbers)) * self.task.model.table.shape[1]
            )
            step = max(1, (CHUNK_FLOATS if where.type == "cpu" else CARD_FLOATS) // per_device)
            for first in range(0, len(members), step):
                chosen = members[first : first + step]
                batch = make_batch(self.windows.take(chosen), length)
                if relabel is not None:
                    batch = relabel(batch, self.devices[chosen].tolist())
                yield torch.from_numpy(chosen).to(where), self._device(training, rows, batch, chosen)

    def _device(self, training: LocalTraining, rows: Rows, batch: Batch, chosen: Index) -> Device:
        model, where, length = self.task.model, rows.items.device, batch.inputs.shape[1]
        inputs, targets = batch.inputs.to(where), batch.targets.to(where)  # [n, ℓ]
        # Item 0 (padding, nothing to predict) is in no slice, so its slot is K: not counted.
        slot_out = self._slots[targets]  # [n, ℓ]
        asked = None
        if self.targets.asked is not None:
            asked = self.targets.asked[torch.from_numpy(chosen)][:, :, -length:].to(where)  # [n, E, ℓ]
            slot_out = torch.where(asked.any(dim=1), slot_out, len(rows.items))
        return Device(
            context=model.embed(inputs),  # [n, ℓ, d]
            slot_in=self._row_slots[model.numbers(inputs)],  # [n, ℓ, B]
            slot_out=slot_out,
            counted=counted(slot_out < len(rows.items)),
            padding=inputs == 0,
            candidates=None
            if rows.candidates is None
            else rows.candidates[torch.from_numpy(chosen).to(where)],
            keep=self._dropout(training, chosen, length, where),
            noise=self._noise(training, chosen, length, where),
            gaps=self._gaps(training, chosen, length).to(where),
            asked=asked,
        )

    def _dropout(
        self, training: LocalTraining, chosen: Index, length: int, where: torch.device
    ) -> Tensor | None:
        """Multipliers 0 and 1/(1 − drop): [n, E, sites, ℓ, d]; None without dropout."""
        drop, sites = self.task.model_config.dropout, int(training.model.dropout_sites)  # type: ignore[arg-type]
        if drop == 0:
            return None
        draws = self.draws("dropout", chosen, where)
        return draws.dropout(drop, training.steps, sites, length, self.task.model.table.shape[1])

    def _noise(self, training: LocalTraining, chosen: Index, length: int, where: torch.device) -> Tensor:
        """Uniform [n, E, CHANNELS, ℓ] where a term asks for it, else zeros and nothing is drawn."""
        shape = (training.steps, CHANNELS, length)
        if not any(term.passes for term in training.regularisers):
            return torch.zeros(1, 1, 1, 1, device=where).expand(len(chosen), *shape)
        return self.draws("noise", chosen, where).uniform(*shape)

    @cached_property
    def _seconds(self) -> Ragged[np.float64] | None:
        return None if self.times is None else self._windowed(Ragged.of(self.times, np.float64))

    def _gaps(self, training: LocalTraining, chosen: Index, length: int) -> Tensor:
        """Seconds since the item before, right-aligned [n, ℓ], where the model asks for them; else zeros.

        The last interaction of a window is only a target, so its time is not read.
        """
        if not training.timed or self._seconds is None:
            return torch.zeros(len(chosen), length)
        windows = self._seconds.take(chosen)
        return gaps_of(windows.first(np.maximum(windows.lengths - 1, 0)), length)
