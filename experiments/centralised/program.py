"""One program that holds all histories: the descent and the ranking of a centralised run.

Model, loss, split and ranking are those of the federation; what differs is that minibatches of users descend
the mean of their losses by Adam, and that no attack, rule or wire is there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from client.cohort import Cohort
from client.precision import precision
from client.ranking import evaluate
from common.config import RunConfig
from common.data import Dataset
from common.data.cut import Parts, held_out, parts, training
from common.data.ragged import Index, Ragged
from common.device import resolve
from common.errors import ConfigError, RunError
from common.items import number_of, numbers_of
from common.metrics import by_group, exposures, exposures_by_target, group_exposures, means
from common.models import build_model, initial
from common.seeding import generator
from common.tasks import GlobalModel, TrainTask
from server.nodes.shares import quartiles
from server.optimizers import schedule
from server.records.report import Evaluation
from server.round.drawing import draw_slice

CENTRALISED = "centralised"
"""Stands where a task has its run and a summary its aggregator."""

WARMUP = 10
"""Steps over which the rate rises, as many as the rounds of a federation's default."""


@dataclass(frozen=True)
class Recipe:
    """How the descent goes.

    epochs      the most there are
    patience    epochs without a better validation after which it ends
    batch       users a step
    rate        of Adam; it rises over the first :data:`WARMUP` steps
    decay_from  share of ``epochs`` after which the rate falls to 0, as ``strategy.decay_from``; 1: never
    """

    epochs: int = 200
    patience: int = 10
    batch: int = 128
    rate: float = 1e-3
    decay_from: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("rate", self.rate), ("decay_from", self.decay_from)):
            if not math.isfinite(value):
                raise ConfigError(f"--{name.replace('_', '-')}: expected a finite number, given {value}")


@dataclass
class Program:
    """The model of one centralised run, and the log that it sees.

    parameters are leaves, whose gradients :meth:`descend` fills; histories: training parts of all users.
    """

    config: RunConfig
    dataset: Dataset
    parameters: GlobalModel
    parts: Parts = field(init=False)
    histories: Ragged[np.int32] = field(init=False)
    popularity: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.parts = parts(self.dataset)
        self.histories = training(self.dataset.sequences, self.parts)
        counts = np.bincount(self.histories.flat(), minlength=self.dataset.num_items + 1)[1:]
        self.popularity = torch.from_numpy(counts).double()  # [N]
        for leaf in self.leaves:
            leaf.requires_grad_()

    @property
    def leaves(self) -> tuple[Tensor, Tensor]:
        return self.parameters.encoder, self.parameters.table

    def task(self, epoch: int, step: int) -> TrainTask:
        """What the users of a step train on: all items, or a slice drawn by the counts of the log."""
        train, where = self.config.train, self.parameters.table.device
        size = self.dataset.num_items if train.negatives == "full" else train.slice_size
        if size == "auto":
            raise ConfigError("train.slice_size: auto is for a federation; --centralised takes a number")
        draw = generator(self.config.seed, "slice", epoch, step)
        items, log_q = draw_slice(self.popularity, size, draw, train.slice_power)
        return TrainTask(
            run=CENTRALISED,
            round=epoch,
            nonce="0",
            model=self.parameters,
            items=items.to(where),
            log_q=(log_q if train.slice_correction else torch.zeros_like(log_q)).to(where),
            devices=torch.zeros(0, dtype=torch.int64),
            model_config=self.config.model,
            train_config=train.model_copy(update={"slices": 1, "local_steps": 1}),
            client_config=self.config.client,
        )

    def descend(self, users: Index, epoch: int, step: int) -> float:
        """Fill the gradients of the mean over ``users`` of Σ_positions loss / L; returns that mean."""
        times = self.dataset.times
        cohort = Cohort(
            self.task(epoch, step),
            self.dataset.devices[users],
            self.histories.take(users),
            times=None if times is None else training(times.take(users), self.parts.take(users)),
            key=self.config.seed,
        )
        for leaf in self.leaves:
            leaf.grad = torch.zeros_like(leaf)
        total = 0.0
        with precision(self.config.train.precision, self.parameters.table.device):
            for part in cohort.losses():
                (part / len(users)).backward()  # type: ignore[no-untyped-call]
                total += float(part.detach())
        table = self.parameters.table.grad
        assert table is not None
        table[0] = 0.0  # padding
        return total / len(users)

    def frozen(self) -> GlobalModel:
        """The parameters as they are now, without gradients."""
        encoder, table = (leaf.detach().clone() for leaf in self.leaves)
        return replace(self.parameters, encoder=encoder, table=table)

    def evaluated(self, parameters: GlobalModel, split: str, epoch: int) -> Evaluation:
        """The full ranking of ``split``, as a federation's devices report it."""
        began = time.perf_counter()
        histories, answers = held_out(self.dataset.sequences, split, self.parts)
        times = None if self.dataset.times is None else held_out(self.dataset.times, split, self.parts)[0]
        if not len(answers):
            raise RunError(
                f"nobody has an interaction to rank in the {split} part; see eval.split and eval.times"
            )
        targets = numbers_of(self.config.eval.targets, "eval.targets")
        group = number_of(name, "eval.group") if (name := self.config.eval.group) else 0
        length = self.config.model.max_len
        first, second, third = quartiles(torch.from_numpy(self.histories.lengths))
        more = int(split == "test" and self.dataset.cuts is None)  # what was held out for validation
        bounds = (first + more, second + more, third + more)
        model = build_model(self.config.model).eval()
        with torch.no_grad():
            found = evaluate(
                model, parameters, histories, answers.astype(np.int64), targets, bounds, length, times, group
            )
        sums, members = by_group(found, len(targets))
        by_target = exposures_by_target(sums, self.config.eval.targets)
        devices, seconds = int(sums.count[0]), time.perf_counter() - began
        return Evaluation(
            epoch,
            split,
            means(sums),
            exposures(sums) | group_exposures(members),
            devices,
            by_target,
            enrolled=devices,
            seconds=seconds,
            recurring=found.recurring / max(1, devices),
        )


def start(config: RunConfig, dataset: Dataset) -> Program:
    """The program with the model that a federation of this config starts from."""
    model, _ = initial(config.model, dataset.num_items, generator(config.seed, "model"))
    return Program(config, dataset, model.to(resolve(config.device)))


def epochs_of(program: Program, recipe: Recipe) -> Iterator[tuple[int, dict[str, float]]]:
    """Epoch after epoch of Adam, and the figures of each."""
    trained = np.flatnonzero(program.histories.lengths > 1)  # who has a next item
    if not len(trained):
        raise ConfigError("data: no user of the log has two interactions to train on")
    adam = torch.optim.Adam(program.leaves, lr=recipe.rate)
    steps, taken = recipe.epochs * math.ceil(len(trained) / recipe.batch), 0
    for epoch in range(1, recipe.epochs + 1):
        began, total = time.perf_counter(), 0.0
        order = torch.randperm(len(trained), generator=generator(program.config.seed, "users", epoch))
        for step, some in enumerate(torch.split(order, recipe.batch)):
            loss = program.descend(trained[some.numpy()], epoch, step)
            if not np.isfinite(loss):
                raise RunError(f"epoch {epoch}: the loss is {loss}; --rate {recipe.rate:g} may be too large")
            taken += 1
            adam.param_groups[0]["lr"] = schedule(recipe.rate, taken, steps, WARMUP, recipe.decay_from)
            adam.step()
            total += loss * len(some)
        seconds = time.perf_counter() - began
        yield epoch, {"loss": total / len(trained), "seconds": seconds, "admitted": float(len(trained))}
