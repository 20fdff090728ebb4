"""Evaluation on the wire: ``evaluate`` messages to the nodes, ``sums`` messages back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from flwr.app import RecordDict
from torch import Tensor

from common.config import ModelConfig
from common.response import EPSILONS
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums, EvaluateTask
from common.wire.arrays import pack
from common.wire.message import Received, seal
from common.wire.model import MAX_TASK_BYTES, choice, pack_model, read_model, read_vector
from common.wire.numbers import unique, within
from common.wire.possible import TOLERANCE, possible_exposure, possible_metrics
from common.wire.reasons import Reason, fail


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
    return EvaluateTask(
        run=message.text("run"),
        round=message.integer("round", 0),
        model=model,
        model_config=model_config,
        split=cast(Literal["valid", "test"], choice(message, "split", ("valid", "test"))),
        targets=tuple(int(t) for t in targets),
        quartiles=_bounds(message),
    )


@dataclass(frozen=True)
class SumsSpec:
    """What the server expects of a node's sums.

    histories: length of each device's history before the item that is ranked, int [m]; targets: how many.
    """

    run: str
    round: int
    histories: Tensor
    targets: int

    @property
    def devices(self) -> int:
        return len(self.histories)

    @property
    def limit(self) -> int:
        """Bytes of the arrays of a reply, which has one shape."""
        groups = len(GROUPS) * (len(METRICS) + 1)
        return 8 * (groups + self.targets * (len(EXPOSURES) + 1) + 3 + 1)


def encode_evaluate_sums(sums: EvaluateSums, run: str, round_: int) -> RecordDict:
    """The message."""
    arrays = {
        "metrics": pack(sums.metrics, "float64"),
        "count": pack(sums.count, "int64"),
        "exposure": pack(sums.exposure, "float64"),
        "eligible": pack(sums.eligible, "int64"),
        "quartiles": pack(torch.tensor(sums.quartiles, dtype=torch.int64), "int64"),
        "epsilon": pack(torch.tensor([sums.epsilon], dtype=torch.float64), "float64"),
    }
    return seal("sums", {"run": run, "round": round_}, arrays)


def decode_evaluate_sums(record: RecordDict, expect: SumsSpec) -> EvaluateSums:
    """Sums that some set of the node's enrolled devices can have. Raises WireError.

    * Counts: at most the devices enrolled, in a quartile at most those whose enrolled history falls into it;
      the quartiles add up to "all", in counts and metrics, or are all zero (kept back).
    * Metrics and exposures of every group: see :mod:`common.wire.possible`.
    * Of randomised response (ε in ``common.response.EPSILONS``): no quartiles and no exposure.
    """
    message = Received(record, "sums", ("run", "round"), expect.limit)
    message.of(expect.run, expect.round)
    message.only("metrics", "count", "exposure", "eligible", "quartiles", "epsilon")
    count = message.array("count", "int64", (len(GROUPS),))
    metrics = message.array("metrics", "float64", (len(GROUPS), len(METRICS)))
    eligible = message.array("eligible", "int64", (expect.targets,))
    exposure = message.array("exposure", "float64", (expect.targets, len(EXPOSURES)))
    bounds = _bounds(message)
    epsilon = float(message.array("epsilon", "float64", (1,)))
    if epsilon != 0 and not EPSILONS[0] <= epsilon <= EPSILONS[1]:
        fail("epsilon", Reason.RANGE, f"expected 0 or {EPSILONS[0]:g}..{EPSILONS[1]:g}, found {epsilon:g}")
    _counts(count, expect.histories, bounds)
    within("eligible", eligible, 0, int(count[0]))
    if epsilon and (bool(count[1:].any()) or bool(eligible.any())):
        fail("epsilon", Reason.UNEXPECTED, "randomised response has neither quartiles nor exposure")
    possible_metrics(metrics, count, exact=epsilon == 0)
    possible_exposure(exposure, eligible)
    if bool(count[1:].any()):
        gap = (metrics[1:].sum(dim=0) - metrics[0]).abs()  # [len(METRICS)]
        if bool((gap > TOLERANCE * (1 + int(count[0]))).any()):
            fail("metrics", Reason.RANGE, "the quartiles do not add up to all devices")
    return EvaluateSums(metrics, count, exposure, eligible, bounds, epsilon)


def _bounds(message: Received) -> tuple[int, int, int]:
    quartiles = message.array("quartiles", "int64", (3,))
    within("quartiles", quartiles, 0)
    first, second, third = (int(q) for q in quartiles)
    if not first <= second <= third:
        fail("quartiles", Reason.ORDER, "expected bounds that do not fall")
    return first, second, third


def _counts(count: Tensor, histories: Tensor, bounds: tuple[int, int, int]) -> None:
    within("count", count, 0, len(histories))
    if not bool(count[1:].any()):
        return
    if int(count[1:].sum()) != int(count[0]):
        fail("count", Reason.RANGE, "the quartiles do not add up to all devices")
    place = torch.bucketize(histories.long(), torch.tensor(bounds))  # [m] in 0..3, as the node does it
    enrolled = torch.bincount(place, minlength=4)
    if bool((count[1:] > enrolled).any()):
        most, told = enrolled.tolist(), count[1:].tolist()
        fail("count", Reason.RANGE, f"enrolled with such histories: {most}, found {told}")
