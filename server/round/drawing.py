"""What a training round asks for: the slices of items and the devices, drawn from the server's key."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from common.config import RunConfig
from common.errors import RunError
from common.seeding import generator, subkey
from common.tasks import Asked, GlobalModel, TrainTask
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

    roots: the same of trusted nodes, where the rule is measured against them. most: bytes of a reply.
    """

    task: TrainTask
    asked: dict[int, Tensor]
    roots: dict[int, Tensor] = field(default_factory=dict)
    most: int = 1 << 28

    def requests(self) -> list[Asked]:
        """Node and devices of each message: those of a node in as few as keep each reply within ``most``."""
        together = self.together()
        return [
            (node, part)
            for node, devices in (self.asked | self.roots).items()
            for part in torch.tensor_split(devices, max(1, -(-len(devices) // together)))
        ]

    def together(self) -> int:
        """The most devices n ≥ 1 whose updates, n·(P + K·d) values of the wire's dtype, are within ``most``.

        With ``negatives: device`` K is the union of what each touched: at most all N items, and n·T.
        """
        spec, values = self.spec(), self.most / self.width
        width, rows = spec.num_parameters, spec.items.shape[-1]
        if spec.negatives != "device":
            return max(1, int(values / (width + rows * spec.dim)))
        each = spec.max_touched * spec.dim  # T·d
        by_touched = (math.sqrt(width**2 + 4 * each * values) - width) / (2 * each)  # n·(P + n·T·d) = values
        return max(1, int(by_touched), int(values / (width + spec.num_items * spec.dim)))

    @property
    def width(self) -> int:
        """Bytes of a value on the wire."""
        return 2 if self.task.wire_dtype == "float16" else 4

    def limits(self) -> dict[int, int]:
        """Node -> bytes that its replies may hold: what :meth:`spec` allows for the devices asked at once."""
        spec, limits = self.spec(), dict[int, int]()
        for node, devices in self.requests():
            limits[node] = max(limits.get(node, 0), replace(spec, devices=devices).limit)
        return limits

    def check_size(self, taken: int = 1 << 40, by: str = "") -> None:
        """Raise RunError before anything is sent where one device's update is more than a reply may be.

        taken: bytes that the SuperLink takes of one reply; by: the setting of that.
        """
        spec = self.spec()
        rows = min(spec.num_items, spec.max_touched) if spec.negatives == "device" else spec.items.shape[-1]
        size = self.width * (spec.num_parameters + rows * spec.dim)
        if size > (most := min(spec.max_bytes, taken)):
            told = f"{amount(size)} ({rows} rows); a reply may hold {amount(most)}"
            told += f" ({by})" if taken < spec.max_bytes else ""
            fewer = "a smaller train.slice_size" if self.task.model.codes is None else "fewer model.code_rows"
            raise RunError(f"the update of one device is {told}: {fewer} or model.dim")

    def spec(self) -> UpdateSpec:
        """What a reply has to look like."""
        model, train = self.task.model, self.task.train_config
        return UpdateSpec(
            run=self.task.run,
            round=self.task.round,
            num_parameters=model.encoder.shape[0],
            dim=model.table.shape[1],
            items=self.task.rows,
            num_items=model.num_items,
            devices=self.task.devices,
            negatives=train.negatives,
            max_touched=self.task.model_config.max_len + 1 + train.device_negatives + EXTRA_ROWS,
        )


def amount(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


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
    draw = generator(state.secret, "slice", round_)
    drawn = draw_slice(popularity, size, draw, train.slice_power, train.slices)
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
    return Drawing(task, asked, most=int(config.wire.reply_mb * (1 << 20)))


def slice_size(config: RunConfig, num_items: int, devices: Devices) -> int:
    """Items of a slice: ``train.slice_size``, or with ``auto`` the least that keeps enough devices busy.

    A device with t next items in its window finds one among M of N items with chance 1 − (1 − M/N)^t if all
    items are as likely. The least M is taken whose mean over the devices with t ≥ 1 is ``train.busy_share``.
    Popular items are more likely in a slice and in a history, so that more devices are busy than that.
    A device is busy if the best of the round's slices holds one of its next items, so if any does: M counts
    all m slices together, and one has M/m items.
    """
    train = config.train
    if train.slice_size != "auto":
        return train.slice_size
    count = devices.next_items(config.model.max_len).double()  # devices with t = 1, 2, … next items
    length = torch.arange(1, len(count) + 1)  # t
    low, high = 0, num_items
    while high - low > 1:
        middle = (low + high) // 2
        busy = (count * (1 - (1 - middle / num_items) ** length)).sum()
        low, high = (low, middle) if busy >= train.busy_share * count.sum() else (middle, high)
    return -(-high // train.slices)


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
    popularity: Tensor, size: int, generator: torch.Generator, power: float = POWER, slices: int = 1
) -> tuple[Tensor, Tensor]:
    """Items int32 [m·K] and log q float32 [m·K] of m = ``slices`` disjoint slices, one after the other, each
    sorted; popularity [N] is of items 1..N. K = ``size``, or ⌊N/m⌋ where the catalogue is too small for it.

    Each item finishes a race after Exp(1)/w_i. The first m·K are drawn, item i with chance r_i
    (:func:`inclusion` of m·K), and dealt: every way to share them out among the slices is as likely. So any
    one slice holds i with chance q_i = r_i/m; in a race of K alone popular items would be further from their
    limit, 1/m. A device takes the slice with most of its own next items. For any other item j the chance to
    be in it is q_j all the same, since the deal does not see items. Further next items of the device are in
    it more often than q tells, for which nothing corrects: they are its labels, not its negatives.
    """
    weights = draw_weights(popularity, power)
    size = min(size, len(weights) // slices)
    finish = -torch.log1p(-torch.rand(len(weights), generator=generator, dtype=torch.float64)) / weights
    chosen = finish.topk(slices * size, largest=False).indices  # [m·K]
    if slices > 1:
        chosen = chosen[torch.randperm(len(chosen), generator=generator)]
    chosen = chosen.view(slices, size).sort(dim=1).values.flatten()
    log_q = (inclusion(weights, slices * size)[chosen] / slices).log()
    return (chosen + 1).to(torch.int32), log_q.float()
