"""What a training round asks for: the slice of items and the devices, drawn from the server's key."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from common.config import RunConfig
from common.errors import RunError
from common.seeding import generator, subkey
from common.tasks import GlobalModel, TrainTask
from common.updates import UpdateSpec
from server.round.popularity import estimate
from server.round.state import ServerState

FLOOR = 5.0
POWER = 0.5
STEPS, PRECISION = 60, 1e-13
"""Of Newton's method for the inclusion probabilities: some six steps, each a pass over the catalogue."""

EXTRA_ROWS = 16
"""Rows that a device may name beyond its window and its negatives."""


class Devices(Protocol):
    """Those that can be drawn."""

    @property
    def count(self) -> int:
        """How many there are."""

    def next_items(self, most: int) -> Tensor:
        """How many have 1, 2, … ``most`` next items or more, int64 [≤ most]; claims."""

    def sample(self, count: int, generator: torch.Generator, round_: int) -> dict[int, Tensor]:
        """``count`` of them, each with the same chance: node -> device numbers int64 [m], ascending."""


@dataclass(frozen=True)
class Drawing:
    """asked: node -> device numbers int64 [m]; task: what all of them get, less their device numbers.

    roots: the same of trusted nodes, where the rule is measured against them.
    """

    task: TrainTask
    asked: dict[int, Tensor]
    roots: dict[int, Tensor] = field(default_factory=dict)

    def tasks(self) -> dict[int, TrainTask]:
        """Node -> its task, for each node that has some of the devices."""
        asked = self.asked | self.roots
        return {node: replace(self.task, devices=devices) for node, devices in asked.items()}

    def limits(self, num_items: int) -> dict[int, int]:
        """Node -> bytes that its reply may hold: what :meth:`spec` allows for the devices asked of it."""
        spec, asked = self.spec(num_items), self.asked | self.roots
        return {node: replace(spec, devices=devices).limit for node, devices in asked.items()}

    def check_size(self, num_items: int) -> None:
        """Raise RunError before anything is sent where a reply would be larger than one may be.

        A full reply of n devices holds n·(P + K·d) values of the wire's dtype.
        """
        spec, task = self.spec(num_items), self.task
        width = 2 if task.wire_dtype == "float16" else 4
        rows = min(num_items, spec.max_touched) if spec.negatives == "device" else len(spec.items)
        device = width * (spec.num_parameters + rows * spec.dim)
        for node, devices in (self.asked | self.roots).items():
            if (size := len(devices) * device) > spec.max_bytes:
                told = f"{size / 1e9:.1f} GB for {len(devices)} devices ({rows} rows each)"
                most = f"{spec.max_bytes / 1e9:.1f} GB"
                fewer = "a smaller train.slice_size" if task.model.codes is None else "fewer model.code_rows"
                remedy = f"fewer train.devices_per_round, {fewer}, or more nodes"
                raise RunError(f"node {node} would send {told}; a reply may hold {most}: {remedy}")

    def spec(self, num_items: int) -> UpdateSpec:
        """What a reply has to look like."""
        model, train = self.task.model, self.task.train_config
        return UpdateSpec(
            run=self.task.run,
            round=self.task.round,
            num_parameters=model.encoder.shape[0],
            dim=model.table.shape[1],
            items=self.task.rows,
            num_items=num_items,
            devices=self.task.devices,
            negatives=train.negatives,
            max_touched=self.task.model_config.max_len + 1 + train.device_negatives + EXTRA_ROWS,
        )


def draw_round(
    config: RunConfig, run: str, round_: int, model: GlobalModel, state: ServerState, devices: Devices
) -> Drawing:
    """The same for the same key, round, popularity so far and devices, whichever nodes hold them.

    Slice and devices are drawn apart: who sees the slice learns nothing about the next devices.
    """
    train = config.train
    num_items = model.num_items
    popularity = estimate(state.pulls, state.trained, devices.count).cpu()
    size = num_items if train.negatives == "full" else slice_size(config, num_items, devices)
    drawn = draw_slice(popularity, size, generator(state.secret, "slice", round_), train.slice_power)
    items, log_q = (part.to(model.table.device) for part in drawn)
    wanted = round(train.devices_per_round * config.strategy.oversample)
    asked = devices.sample(wanted, generator(state.secret, "devices", round_), round_)
    task = TrainTask(
        run=run,
        round=round_,
        nonce=subkey(state.secret, "nonce", round_).hex()[:32],
        model=model,
        items=items,
        log_q=log_q if train.slice_correction else torch.zeros_like(log_q),
        devices=torch.zeros(0, dtype=torch.int64),
        model_config=config.model,
        train_config=train,
        client_config=config.client,
        wire_dtype=config.wire.dtype,
    )
    return Drawing(task, asked)


def slice_size(config: RunConfig, num_items: int, devices: Devices) -> int:
    """Items of a round's slice: ``train.slice_size``, or with ``auto`` the least that keeps enough busy.

    A device with m next items in its window finds one among K of N items with chance 1 − (1 − K/N)^m if all
    items are as likely. The least K is taken whose mean over the devices with m ≥ 1 is ``train.busy_share``.
    Popular items are more likely in a slice and in a history, so that more devices are busy than that.
    """
    train = config.train
    if train.slice_size != "auto":
        return train.slice_size
    count = devices.next_items(config.model.max_len).double()  # devices with m = 1, 2, … next items
    length = torch.arange(1, len(count) + 1)  # m
    low, high = 0, num_items
    while high - low > 1:
        middle = (low + high) // 2
        busy = (count * (1 - (1 - middle / num_items) ** length)).sum()
        low, high = (low, middle) if busy >= train.busy_share * count.sum() else (middle, high)
    return high


def draw_places(count: int, total: int, generator: torch.Generator) -> Tensor:
    """``count`` of the numbers 0..total - 1, or all of fewer, each set as likely: int64, ascending.

    The first ``count`` different ones of a sequence of uniform draws: O(count·log count), whatever the total.
    """
    if 2 * count >= total:
        return torch.randperm(total, generator=generator)[:count].sort().values
    drawn = torch.zeros(0, dtype=torch.int64)
    while True:
        more = torch.randint(1 << 62, (count,), generator=generator) % total  # a bias of total/2^62 at most
        drawn = torch.cat([drawn, more])
        values, index = drawn.sort(stable=True)  # of equal ones the first drawn comes first
        other = torch.ones_like(values, dtype=torch.bool)
        other[1:] = values[1:] != values[:-1]
        first = index[other]  # where each number is drawn first
        if len(first) >= count:
            return drawn[first.sort().values[:count]].sort().values


def draw_weights(popularity: Tensor, power: float = POWER) -> Tensor:
    """w_i = (popularity_i + 5)^power, popularity clamped at 0: bounded, so no claim keeps an item out."""
    return (popularity.double().clamp(min=0.0) + FLOOR) ** power


def inclusion(weights: Tensor, size: int) -> Tensor:
    """Inclusion probabilities q_i = 1 − exp(−w_i τ) with τ such that Σ q_i = size.

    This is how often item i is among the ``size`` first of the exponential race of :func:`draw_slice`
    (Rosén 1972); for size = N all are 1.
    """
    if size >= len(weights):
        return torch.ones_like(weights)
    tau = size / weights.sum()
    for _ in range(STEPS):  # the sum is concave in τ, so Newton's method comes from below and never turns
        out = torch.exp(-weights * tau)  # 1 − q [N]
        missing = size - len(weights) + out.sum()
        if float(missing) <= PRECISION * size:
            break
        tau = tau + missing / (weights @ out)
    return 1 - out


def draw_slice(
    popularity: Tensor, size: int, generator: torch.Generator, power: float = POWER
) -> tuple[Tensor, Tensor]:
    """Items int32 [K], sorted, and log q float32 [K]; popularity [N] is of items 1..N.

    Each item finishes a race after Exp(1)/w_i; the first K are the slice.
    """
    weights = draw_weights(popularity, power)
    size = min(size, len(weights))
    finish = -torch.log1p(-torch.rand(len(weights), generator=generator, dtype=torch.float64)) / weights
    chosen = finish.topk(size, largest=False).indices.sort().values  # [K]
    log_q = inclusion(weights, size)[chosen].log()
    return (chosen + 1).to(torch.int32), log_q.float()
