"""Train many devices of one node: windows → buckets → bounded chunks → DeviceUpdates."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from client.batch import Batch, Rows, buckets, make_batch, rows_of, window
from client.regularisers import build_regularisers
from client.training import Device, LocalTraining, dropout, gaps, noise
from common.data.types import Items, Times
from common.models import build_model, layout_of
from common.seeding import Key, generator
from common.tasks import TrainTask
from common.updates import DeviceUpdates

CHUNK_FLOATS = 24_000_000
"""Bound on the intermediate values of one vmapped chunk (about 100 MB)."""

Relabel = Callable[[Batch, Sequence[int]], Batch]
"""A data poisoner's door: (batch, device numbers) -> batch of equal shape."""


@dataclass(frozen=True)
class Cohort:
    """The devices ``numbers`` of one task with their training sequences.

    wanted: items that every device adds to its own rows with ``negatives: device`` (an attack's targets).
    times: seconds of each interaction of ``sequences``, where the log has them; regularisers may ask.
    key: window, dropout, negatives and noise are drawn from it. Fresh by default, and told nobody.
    """

    task: TrainTask
    numbers: Sequence[int]
    sequences: Sequence[Items]
    wanted: Sequence[int] = ()
    times: Sequence[Times] | None = None
    key: Key = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One a device: what it draws does not depend on which node it is on or who else trains."""
        return [generator(self.key, "device", self.task.round, number) for number in self.numbers]

    @cached_property
    def spans(self) -> list[Items]:
        """Places in its sequence that each device trains on."""
        random = self.task.train_config.window == "random"
        length = self.task.model_config.max_len
        return [
            window(np.arange(len(items), dtype=np.int32), length, gen if random else None)
            for items, gen in zip(self.sequences, self.generators, strict=True)
        ]

    @cached_property
    def windows(self) -> list[Items]:
        return [items[span] for items, span in zip(self.sequences, self.spans, strict=True)]

    @cached_property
    def rows(self) -> Rows:
        return rows_of(self.task, self.windows, self.generators, self.wanted)

    def train(self, relabel: Relabel | None = None) -> DeviceUpdates:
        """The update of every device, in the order of ``numbers``."""
        task, rows = self.task, self.rows
        n, size, dim = len(self.numbers), len(rows.items), task.model.table.shape[1]
        training = self._training()
        encoder = torch.empty(n, task.model.encoder.shape[0])
        row_updates = torch.empty(n, size, dim)
        start = task.model.table[rows.items.long()]  # [K, d]
        for index, devices in self._chunks(training, rows, relabel):
            encoder[index], row_updates[index] = training.cohort(
                task.model.encoder, start, devices, rows.log_q
            )
        return DeviceUpdates(
            encoder=encoder,
            rows=row_updates,
            items=rows.items,
            history=torch.tensor([len(w) for w in self.windows], dtype=torch.int32),
            device=torch.tensor(list(self.numbers), dtype=torch.int64),
            touched=rows.candidates,
        )

    def _training(self) -> LocalTraining:
        task = self.task
        model = build_model(task.model_config)
        return LocalTraining(
            model=model,
            layout=layout_of(model),
            num_items=task.model.table.shape[0] - 1,
            max_len=task.model_config.max_len,
            loss=task.train_config.loss,
            steps=task.train_config.local_steps,
            lr=task.train_config.local_lr,
            regularisers=build_regularisers(task.client_config.regularisers),
        )

    def _chunks(
        self, training: LocalTraining, rows: Rows, relabel: Relabel | None
    ) -> Iterator[tuple[Tensor, Device]]:
        size = len(rows.items)
        slots = torch.full((training.num_items + 1,), size)  # item -> place in the slice, or K
        slots[rows.items.long()] = torch.arange(size)
        for length, members in buckets([len(w) - 1 for w in self.windows], training.max_len):
            passes = 1 + sum(term.passes for term in training.regularisers)
            per_device = (
                6 * passes * (length * size + training.layout.total)
                + 4 * size * self.task.model.table.shape[1]
            )
            step = max(1, CHUNK_FLOATS // per_device)
            for first in range(0, len(members), step):
                chosen = members[first : first + step]
                batch = make_batch([self.windows[i] for i in chosen], length)
                if relabel is not None:
                    batch = relabel(batch, [self.numbers[i] for i in chosen])
                yield torch.tensor(chosen), self._device(training, rows, slots, batch, chosen)

    def _device(
        self, training: LocalTraining, rows: Rows, slots: Tensor, batch: Batch, chosen: Sequence[int]
    ) -> Device:
        size, dim = len(rows.items), self.task.model.table.shape[1]
        length, steps, terms = batch.inputs.shape[1], training.steps, training.regularisers
        generators = [self.generators[i] for i in chosen]
        times = None
        if self.times is not None and any(term.timed for term in terms):
            times = [self.times[i][self.spans[i]] for i in chosen]
        shape = (steps, int(training.model.dropout_sites), length, dim)  # type: ignore[arg-type]
        mask = torch.ones(1, size, dtype=torch.bool).expand(len(chosen), size)
        if rows.candidates is not None:
            mask = rows.candidates[torch.tensor(chosen)]
        return Device(
            context=self.task.model.table[batch.inputs],  # [n, ℓ, d]
            # Item 0 (padding, nothing to predict) is in no slice, so its slot is K: not counted.
            slot_in=slots[batch.inputs],
            slot_out=slots[batch.targets],
            padding=batch.padding,
            candidates=mask,
            keep=dropout(generators, shape, self.task.model_config.dropout),
            # After all else: what a term draws moves no other draw.
            noise=noise(generators, steps, length, any(term.passes for term in terms)),
            gaps=gaps(times, length, len(chosen)),
        )
