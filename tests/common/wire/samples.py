"""Small valid messages to send, and to break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch

from common.config import ClientConfig, Component, ModelConfig, TrainConfig
from common.metrics import exposure_values, rank_values
from common.tasks import (
    Enrolment,
    EvaluateSums,
    EvaluateTask,
    GlobalModel,
    TrainTask,
)
from common.updates import DeviceUpdates
from common.wire import SumsSpec, UpdateSpec

RUN, ROUND = "run-7", 3
N, P, K, D, ITEMS = 4, 6, 5, 2, 20
Negatives = Literal["full", "slice", "device"]


def updates(negatives: Negatives = "slice", n: int = N, seed: int = 0) -> DeviceUpdates:
    """n devices 10, 11, …; with ``device`` every row a device did not touch is zero."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, K, D, generator=g)
    touched = None
    if negatives == "device":
        touched = torch.rand(n, K, generator=g) < 0.6
        rows = rows * touched[:, :, None]
    return DeviceUpdates(
        encoder=torch.randn(n, P, generator=g),
        rows=rows,
        items=torch.tensor([2, 3, 7, 11, 20], dtype=torch.int32),
        history=torch.arange(1, n + 1, dtype=torch.int32),
        device=torch.arange(10, 10 + n),
        touched=touched,
    )


def spec(negatives: Negatives = "slice", **changes: Any) -> UpdateSpec:
    """What fits :func:`updates`."""
    base = UpdateSpec(
        run=RUN,
        round=ROUND,
        num_parameters=P,
        dim=D,
        items=updates().items,
        num_items=ITEMS,
        devices=torch.arange(10, 20),
        negatives=negatives,
    )
    return replace(base, **changes)


def model() -> GlobalModel:
    g = torch.Generator().manual_seed(1)
    return GlobalModel(encoder=torch.randn(P, generator=g), table=torch.randn(ITEMS + 1, D, generator=g))


def train_task(**changes: Any) -> TrainTask:
    base = TrainTask(
        run=RUN,
        round=ROUND,
        nonce="5eed",
        model=model(),
        items=updates().items,
        log_q=torch.linspace(-3, 0, K),
        devices=torch.tensor([5, 2, 2**40]),
        model_config=ModelConfig(dim=D),
        train_config=TrainConfig(negatives="device", local_lr=1),
        client_config=ClientConfig(
            regularisers=(Component.model_validate({"name": "anchor", "weight": 0.5}),)
        ),
        wire_dtype="float32",
    )
    return replace(base, **changes)


def evaluate_task(**changes: Any) -> EvaluateTask:
    base = EvaluateTask(
        run=RUN,
        round=ROUND,
        model=model(),
        model_config=ModelConfig(dim=D),
        split="valid",
        targets=(4, 1),
        quartiles=(3, 5, 5),
    )
    return replace(base, **changes)


def sums(targets: int = 2) -> EvaluateSums:
    """Of ten devices, whose ranks meet every band, in quartiles of four, three, two and one."""
    ranks = torch.tensor([0, 3, 7, 50, 4, 12, 1000, 19, 5, 2])
    values = rank_values(ranks, 2 * ranks)  # [10, len(METRICS)]
    place = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    member = torch.stack([place >= 0, *(place == q for q in range(4))])  # [len(GROUPS), 10]
    exposed = exposure_values(ranks[3:]).sum(0)
    return EvaluateSums(
        metrics=member.double() @ values,
        count=member.sum(1),
        exposure=exposed.expand(targets, -1).contiguous(),
        eligible=torch.full((targets,), 7),
        quartiles=(2, 4, 6),
    )


def sums_spec(**changes: Any) -> SumsSpec:
    """Twelve devices, of which 5, 3, 2 and 2 have histories in the quartiles of :func:`sums`."""
    histories = torch.tensor([1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 9], dtype=torch.int32)
    return replace(SumsSpec(run=RUN, round=ROUND, histories=histories, targets=2), **changes)


def enrolment() -> Enrolment:
    return Enrolment(devices=torch.tensor([0, 4, 2**40]), history=torch.tensor([1, 0, 9], dtype=torch.int32))
