"""What a node tells of its devices in an evaluation: groups of some size, a few targets, or noise."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import cast

import torch
from flwr.app import ConfigRecord, RecordDict
from torch import Tensor

from common.errors import ConfigError
from common.metrics import rank_values
from common.response import EPSILONS, randomise
from common.tasks import EvaluateSums, EvaluateTask

_LOG = logging.getLogger(__name__)
MAX_TARGETS = 16
MEMORY = "evaluation"
"""The record of the node's state that remembers the bounds of its groups, and whether it warned."""

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Disclosure:
    """What the node's owner allows.

    targets    items whose exposure may be asked for: who asks for the whole catalogue reads histories
    min_group  devices in the smallest group whose sums leave the node
    epsilon    of the randomised response of a node with fewer devices in all, for each evaluation; 0 abstains
    """

    targets: frozenset[int] = frozenset()
    min_group: int = 5
    epsilon: float = 3.0


def read_disclosure(config: Mapping[str, Scalar]) -> Disclosure:
    """From ``exposure_targets="50,12"``, ``min_group`` and ``evaluation_epsilon`` of a node config.

    Raises ConfigError.
    """
    text = str(config.get("exposure_targets", ""))
    try:
        targets = frozenset(int(t) for t in text.split(",") if t.strip())
    except ValueError:
        targets = frozenset([0])
    if len(targets) > MAX_TARGETS or min(targets, default=1) < 1:
        raise ConfigError(
            f"node config: exposure_targets is {text[:60]!r}; "
            f"expected at most {MAX_TARGETS} item numbers, as in 50,12"
        )
    group = config.get("min_group", Disclosure.min_group)
    if not isinstance(group, int) or isinstance(group, bool) or group < 1:
        raise ConfigError(f"node config: min_group is {group!r}; expected a whole number from 1")
    epsilon = config.get("evaluation_epsilon", Disclosure.epsilon)
    low, high = EPSILONS
    if isinstance(epsilon, str | bool) or not (epsilon == 0 or low <= epsilon <= high):
        raise ConfigError(
            f"node config: evaluation_epsilon is {epsilon!r}; expected {low:g} to {high:g}, or 0 to abstain"
        )
    return Disclosure(targets, group, float(epsilon))


def fixed_bounds(task: EvaluateTask, memory: RecordDict) -> tuple[int, int, int]:
    """The bounds of the first task of this split: by shifting them a server could single out one device."""
    kept = _memory(memory)
    if task.split not in kept:
        kept[task.split] = list(task.quartiles)
    first, second, third = cast(list[int], kept[task.split])
    return first, second, third


def allowed(task: EvaluateTask, tells: Disclosure, memory: RecordDict) -> tuple[int, ...]:
    """The targets of ``task`` that the owner named; the first time that some are refused, it is logged."""
    refused = [t for t in task.targets if t not in tells.targets]
    if refused and not _memory(memory).setdefault("told", 0):
        _memory(memory)["told"] = 1
        _LOG.warning(
            "the server asks for the exposure of %d items that exposure_targets does not name, such as %d",
            len(refused),
            refused[0],
        )
    return tuple(t for t in task.targets if t in tells.targets)


def grouped(sums: EvaluateSums, min_group: int) -> EvaluateSums:
    """``sums`` of ``min_group`` devices or more, without what fewer make up: quartiles, single targets."""
    count, metrics = sums.count.clone(), sums.metrics.clone()
    if bool(((count[1:] > 0) & (count[1:] < min_group)).any()):
        count[1:], metrics[1:] = 0, 0  # all four: one group is "all" without the others
    many = sums.eligible >= min_group  # [t]
    exposure, eligible = sums.exposure * many[:, None], sums.eligible * many
    return replace(sums, metrics=metrics, count=count, exposure=exposure, eligible=eligible)


def placed(sums: EvaluateSums, answered: Sequence[int], asked: Sequence[int]) -> EvaluateSums:
    """Exposures of the targets ``answered`` at their places among those ``asked``; zero at the others."""
    place = [asked.index(t) for t in answered]
    exposure = torch.zeros(len(asked), sums.exposure.shape[1], dtype=torch.float64)
    eligible = torch.zeros(len(asked), dtype=torch.int64)
    exposure[place], eligible[place] = sums.exposure, sums.eligible
    return replace(sums, exposure=exposure, eligible=eligible)


def noisy(nothing: EvaluateSums, ranks: Tensor, epsilon: float) -> EvaluateSums:
    """Sums of randomised ranks (int64 [2, n], filtered and not) in place of ``nothing``.

    The chance is the operating system's: no seed that the server knows takes it off again.
    """
    filtered, unfiltered = randomise(ranks, epsilon, SystemRandom())
    metrics, count = nothing.metrics.clone(), nothing.count.clone()
    metrics[0] = rank_values(filtered, unfiltered).sum(0)
    count[0] = ranks.shape[1]
    return replace(nothing, metrics=metrics, count=count, epsilon=epsilon)


def _memory(memory: RecordDict) -> ConfigRecord:
    if MEMORY not in memory:
        memory[MEMORY] = ConfigRecord()
    return memory.config_records[MEMORY]
