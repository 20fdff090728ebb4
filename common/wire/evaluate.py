"""Evaluation on the wire: ``evaluate`` messages to the nodes, ``sums`` that some ranks can have back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

import torch
from flwr.app import RecordDict
from torch import Tensor

from common.config import ModelConfig
from common.device import CPU
from common.response import EPSILONS
from common.sampling import ALL, Sample
from common.tasks import CUTS, EXPOSURES, GROUPS, METRICS, EvaluateSums, EvaluateTask
from common.wire.arrays import finite, pack, unique, within
from common.wire.message import Received, seal
from common.wire.reasons import Reason, fail, show
from common.wire.train import MAX_TASK_BYTES, choice, model_arrays, pack_model, read_model, read_vector

TOLERANCE = 1e-4
"""Relative slack of sums that must agree: nodes may add in another order or precision."""

FIRST = torch.tensor([0, *CUTS[:-1]], dtype=torch.float64)
LAST = torch.tensor(CUTS, dtype=torch.float64) - 1
"""The smallest and the largest rank of each band but the last."""


def possible_metrics(metrics: Tensor, count: Tensor, exact: bool = True) -> None:
    """Metrics float64 [g, len(METRICS)] of groups of ``count`` int64 [g] devices. Raises WireError.

    exact: False for randomised ranks, where filtered and unfiltered ones are drawn apart.
    """
    finite("metrics", metrics)
    half = len(METRICS) // 2
    for part in (metrics[:, :half], metrics[:, half:]):
        _ranking("metrics", part[:, : half - 1], count)
        _reciprocal(part, count)
    if exact and bool((metrics[:, half:] > metrics[:, :half] + _slack(count)).any()):
        fail("metrics", Reason.RANGE, "an unfiltered metric is larger than the filtered one")


def possible_exposure(exposure: Tensor, eligible: Tensor) -> None:
    """Exposures float64 [t, len(EXPOSURES)] over ``eligible`` int64 [t] devices. Raises WireError."""
    finite("exposure", exposure)
    _ranking("exposure", exposure, eligible)


def _slack(count: Tensor) -> Tensor:
    return TOLERANCE * (1 + count.double()[:, None])  # [g, 1]


def _ranking(field: str, values: Tensor, count: Tensor) -> None:
    """Hits at each cut, then gains at each: [g, 2 · len(CUTS)]."""
    hits, gains = values[:, : len(CUTS)], values[:, len(CUTS) :]
    slack, n = _slack(count), count.double()[:, None]
    if bool((values < 0).any()) or bool((hits > n + slack).any()) or bool((gains > n + slack).any()):
        fail(field, Reason.RANGE, "a sum is negative or larger than the number of devices")
    inside, gained = _steps(hits), _steps(gains)
    if bool((inside < -slack).any()):
        fail(field, Reason.RANGE, "fewer hits at a larger cut")
    low, high = inside / torch.log2(LAST + 2), inside / torch.log2(FIRST + 2)
    if bool(((gained < low - slack) | (gained > high + slack)).any()):
        fail(field, Reason.RANGE, "gains that no ranks with these hits have")


def _reciprocal(values: Tensor, count: Tensor) -> None:
    """MRR, the last column of [g, 2 · len(CUTS) + 1], against the hits and gains before it."""
    hits, best, mrr = values[:, : len(CUTS)], values[:, 2 * len(CUTS) - 1], values[:, -1]
    slack, inside = _slack(count)[:, 0], _steps(hits)
    beyond = (count.double() - hits[:, -1]).clamp(min=0) / (CUTS[-1] + 1)  # [g]
    low = (inside / (LAST + 1)).sum(1)
    high = torch.minimum(best, (inside / (FIRST + 1)).sum(1)) + beyond
    if bool(((mrr < low - slack) | (mrr > high + slack)).any()):
        fail("metrics", Reason.RANGE, "an MRR that no ranks with these hits have")


def _steps(values: Tensor) -> Tensor:
    """What each band adds: [g, len(CUTS)]."""
    return values.diff(dim=1, prepend=torch.zeros(len(values), 1, dtype=values.dtype))


def encode_evaluate_task(task: EvaluateTask) -> RecordDict:
    """The message."""
    meta: dict[str, int | str] = {
        "run": task.run,
        "round": task.round,
        "split": task.split,
        "model_config": task.model_config.model_dump_json(),
        "salt": task.sample.salt if task.sample else "",
        "below": task.sample.below if task.sample else ALL,
        "group": task.group,
    }
    arrays = {
        **pack_model(task.model),
        "targets": pack(torch.tensor(task.targets, dtype=torch.int64), "int64"),
        "quartiles": pack(torch.tensor(task.quartiles, dtype=torch.int64), "int64"),
    }
    return seal("evaluate", meta, arrays)


def decode_evaluate_task(
    record: RecordDict, max_bytes: int = MAX_TASK_BYTES, device: torch.device = CPU
) -> EvaluateTask:
    """The task, with targets in the catalogue and quartile bounds that do not fall; its model on ``device``.

    Raises WireError.
    """
    names = ("run", "round", "split", "model_config", "salt", "below", "group")
    message = Received(record, "evaluate", names, max_bytes, device)
    model_config = message.section("model_config", ModelConfig)
    message.only(*model_arrays(model_config), "targets", "quartiles")
    model = read_model(message, model_config)
    targets = read_vector(message, "targets", "int64", model.num_items, CPU)
    within("targets", targets, 1, model.num_items)
    unique("targets", targets)
    return EvaluateTask(
        run=message.text("run"),
        round=message.integer("round", 0),
        model=model,
        model_config=model_config,
        split=cast(Literal["valid", "test"], choice(message, "split", ("valid", "test"))),
        targets=tuple(targets.tolist()),
        quartiles=_bounds(message),
        sample=_sample(message),
        group=message.integer("group", 0, model.num_items),
    )


@dataclass(frozen=True)
class SumsSpec:
    """What the server expects of a node's sums.

    histories: length of each device's history before the item that is ranked, int [m]; targets: how many;
    group: whether exposure within a group is asked for as well. grown: histories may be longer than enrolled
    by an unknown number, as before the test item of a time split; any may then be in any quartile.
    """

    run: str
    round: int
    histories: Tensor
    targets: int
    group: bool = False
    grown: bool = False

    @property
    def exposures(self) -> int:
        """Rows of the exposure."""
        return self.targets * (2 if self.group else 1)

    @property
    def devices(self) -> int:
        return len(self.histories)

    @property
    def limit(self) -> int:
        """Bytes of the arrays of a reply, which has one shape."""
        groups = len(GROUPS) * (len(METRICS) + 1)
        return 8 * (groups + self.exposures * (len(EXPOSURES) + 1) + 3 + 1 + 1)


def encode_evaluate_sums(sums: EvaluateSums, run: str, round_: int) -> RecordDict:
    """The message."""
    arrays = {
        "metrics": pack(sums.metrics, "float64"),
        "count": pack(sums.count, "int64"),
        "exposure": pack(sums.exposure, "float64"),
        "eligible": pack(sums.eligible, "int64"),
        "quartiles": pack(torch.tensor(sums.quartiles, dtype=torch.int64), "int64"),
        "epsilon": pack(torch.tensor([sums.epsilon], dtype=torch.float64), "float64"),
        "recurring": pack(torch.tensor([int(sums.recurring)], dtype=torch.int64), "int64"),
    }
    return seal("sums", {"run": run, "round": round_}, arrays)


def decode_evaluate_sums(record: RecordDict, expect: SumsSpec) -> EvaluateSums:
    """Sums that some set of the node's enrolled devices can have. Raises WireError.

    * Counts: at most the devices enrolled, in a quartile at most those whose enrolled history falls into it;
      the quartiles add up to "all", in counts and metrics, or are all zero (kept back).
    * Metrics and exposures of every group: see :mod:`common.wire.evaluate`.
    * Answers that recur: of at most the devices counted.
    * Of randomised response (ε in ``common.response.EPSILONS``): no quartiles and no exposure.
    """
    message = Received(record, "sums", ("run", "round"), expect.limit)
    message.of(expect.run, expect.round)
    message.only("metrics", "count", "exposure", "eligible", "quartiles", "epsilon", "recurring")
    count = message.array("count", "int64", (len(GROUPS),))
    metrics = message.array("metrics", "float64", (len(GROUPS), len(METRICS)))
    eligible = message.array("eligible", "int64", (expect.exposures,))
    exposure = message.array("exposure", "float64", (expect.exposures, len(EXPOSURES)))
    bounds = _bounds(message)
    epsilon = float(message.array("epsilon", "float64", (1,)))
    if epsilon != 0 and not EPSILONS[0] <= epsilon <= EPSILONS[1]:
        fail("epsilon", Reason.RANGE, f"expected 0 or {EPSILONS[0]:g}..{EPSILONS[1]:g}, found {epsilon:g}")
    _counts(count, expect.histories, bounds, expect.grown)
    within("eligible", eligible, 0, int(count[0]))
    recurring = message.array("recurring", "int64", (1,))
    within("recurring", recurring, 0, 0 if epsilon else int(count[0]))
    if epsilon and (bool(count[1:].any()) or bool(eligible.any())):
        fail("epsilon", Reason.UNEXPECTED, "randomised response has neither quartiles nor exposure")
    possible_metrics(metrics, count, exact=epsilon == 0)
    possible_exposure(exposure, eligible)
    _subset(exposure, eligible, expect)
    if bool(count[1:].any()):
        gap = (metrics[1:].sum(dim=0) - metrics[0]).abs()  # [len(METRICS)]
        if bool((gap > TOLERANCE * (1 + int(count[0]))).any()):
            fail("metrics", Reason.RANGE, "the quartiles do not add up to all devices")
    return EvaluateSums(metrics, count, exposure, eligible, bounds, epsilon, float(recurring))


def _subset(exposure: Tensor, eligible: Tensor, expect: SumsSpec) -> None:
    """What a group holds all devices hold, unless the sums over all are kept back."""
    if not expect.group:
        return
    everyone, members = eligible.view(2, expect.targets)  # [targets] each
    whole, part = exposure.view(2, expect.targets, len(EXPOSURES))  # [targets, E] each
    sent = everyone > 0  # [targets]
    beyond = (part > whole + TOLERANCE * (1 + everyone.double()[:, None])).any(dim=1)  # [targets]
    if bool((sent & ((members > everyone) | beyond)).any()):
        fail("exposure", Reason.RANGE, "a group has more of a target than all devices")


def _sample(message: Received) -> Sample | None:
    """Without a salt all devices are asked."""
    salt, below = message.text("salt"), message.integer("below", 1, ALL)
    if not salt and below == ALL:
        return None
    if not re.fullmatch(r"[0-9a-f]{64}", salt):
        fail("meta.salt", Reason.RANGE, f"expected 64 hexadecimal digits, found {show(salt)}")
    return Sample(salt, below)


def _bounds(message: Received) -> tuple[int, int, int]:
    quartiles = message.array("quartiles", "int64", (3,), CPU)
    within("quartiles", quartiles, 0)
    first, second, third = quartiles.tolist()
    if not first <= second <= third:
        fail("quartiles", Reason.ORDER, "expected bounds that do not fall")
    return first, second, third


def _counts(count: Tensor, histories: Tensor, bounds: tuple[int, int, int], grown: bool) -> None:
    within("count", count, 0, len(histories))
    if not bool(count[1:].any()):
        return
    if int(count[1:].sum()) != int(count[0]):
        fail("count", Reason.RANGE, "the quartiles do not add up to all devices")
    if grown:
        return
    place = torch.bucketize(histories.long(), torch.tensor(bounds))  # [m] in 0..3, as the node does it
    enrolled = torch.bincount(place, minlength=4)
    if bool((count[1:] > enrolled).any()):
        most, told = enrolled.tolist(), count[1:].tolist()
        fail("count", Reason.RANGE, f"enrolled with such histories: {most}, found {told}")
