"""Evaluation on the wire: ``evaluate`` messages to the nodes, ``sums`` messages back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from flwr.app import RecordDict
from torch import Tensor

from common.config import ModelConfig
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums, EvaluateTask
from common.wire.arrays import pack
from common.wire.message import Received, seal
from common.wire.model import MAX_TASK_BYTES, choice, pack_model, read_model, read_vector
from common.wire.numbers import finite, unique, within
from common.wire.reasons import Reason, fail

TOLERANCE = 1e-4
"""Relative slack of sums that must agree: nodes may add in another order or precision."""


def encode_evaluate_task(task: EvaluateTask) -> RecordDict:
    """The message."""
    meta: dict[str, int | str] = {
        "run": task.run,
        "round": task.round,
        "split": task.split,
        "model_config": task.model_config.model_dump_json(),
    }
    arrays = {
        **pack_model(task.model),
        "targets": pack(torch.tensor(task.targets, dtype=torch.int64), "int64"),
        "quartiles": pack(torch.tensor(task.quartiles, dtype=torch.int64), "int64"),
    }
    return seal("evaluate", meta, arrays)


def decode_evaluate_task(record: RecordDict, max_bytes: int = MAX_TASK_BYTES) -> EvaluateTask:
    """The task, with targets in the catalogue and quartile bounds that do not fall. Raises WireError."""
    message = Received(record, "evaluate", ("run", "round", "split", "model_config"), max_bytes)
    message.only("encoder", "table", "targets", "quartiles")
    model_config = message.section("model_config", ModelConfig)
    model = read_model(message, model_config.dim)
    targets = read_vector(message, "targets", "int64", limit=len(model.table) - 1)
    within("targets", targets, 1, len(model.table) - 1)
    unique("targets", targets)
    quartiles = message.array("quartiles", "int64", (3,))
    within("quartiles", quartiles, 0)
    first, second, third = (int(q) for q in quartiles)
    if not first <= second <= third:
        fail("quartiles", Reason.ORDER, "expected bounds that do not fall")
    return EvaluateTask(
        run=message.text("run"),
        round=message.integer("round", 0),
        model=model,
        model_config=model_config,
        split=cast(Literal["valid", "test"], choice(message, "split", ("valid", "test"))),
        targets=tuple(int(t) for t in targets),
        quartiles=(first, second, third),
    )


@dataclass(frozen=True)
class SumsSpec:
    """What the server expects of a node's sums: the node's enrolled devices and the number of targets."""

    run: str
    round: int
    devices: int
    targets: int


def encode_evaluate_sums(sums: EvaluateSums, run: str, round_: int) -> RecordDict:
    """The message."""
    arrays = {
        "metrics": pack(sums.metrics, "float64"),
        "count": pack(sums.count, "int64"),
        "exposure": pack(sums.exposure, "float64"),
        "eligible": pack(sums.eligible, "int64"),
    }
    return seal("sums", {"run": run, "round": round_}, arrays)


def decode_evaluate_sums(record: RecordDict, expect: SumsSpec) -> EvaluateSums:
    """Sums that some set of at most ``expect.devices`` devices can have. Raises WireError.

    Every metric of a device lies in [0, 1], so a sum lies in [0, count]; groups add up to "all".
    """
    message = Received(record, "sums", ("run", "round"), 1 << 24)
    message.of(expect.run, expect.round)
    message.only("metrics", "count", "exposure", "eligible")
    count = message.array("count", "int64", (len(GROUPS),))
    metrics = message.array("metrics", "float64", (len(GROUPS), len(METRICS)))
    eligible = message.array("eligible", "int64", (expect.targets,))
    exposure = message.array("exposure", "float64", (expect.targets, len(EXPOSURES)))
    within("count", count, 0, expect.devices)
    if int(count[1:].sum()) != int(count[0]):
        fail("count", Reason.RANGE, "the quartiles do not add up to all devices")
    within("eligible", eligible, 0, int(count[0]))
    _sums("metrics", metrics, count)
    _sums("exposure", exposure, eligible)
    gap = (metrics[1:].sum(dim=0) - metrics[0]).abs()  # [len(METRICS)]
    if bool((gap > TOLERANCE * (1 + int(count[0]))).any()):
        fail("metrics", Reason.RANGE, "the quartiles do not add up to all devices")
    return EvaluateSums(metrics=metrics, count=count, exposure=exposure, eligible=eligible)


def _sums(field: str, sums: Tensor, count: Tensor) -> None:
    finite(field, sums)
    limit = count.double()[:, None] * (1 + TOLERANCE)  # [g, 1]
    if bool(((sums < 0) | (sums > limit)).any()):
        fail(field, Reason.RANGE, "a sum is negative or larger than the number of devices")
