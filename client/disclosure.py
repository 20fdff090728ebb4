"""What a node's owner lets it tell: in training by which protocol and under how much noise, in an
evaluation groups of some size, a few targets, or noise."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import cast

import torch
from flwr.app import ConfigRecord, RecordDict
from torch import Tensor

from common.config import Component, ModelConfig
from common.errors import ConfigError, WireError
from common.items import split_names
from common.metrics import rank_values
from common.registry import outside
from common.response import EPSILONS, randomise
from common.sampling import Sample
from common.tasks import EvaluateSums, EvaluateTask, TrainTask
from common.wire import Reason
from common.wire.reasons import show

_LOG = logging.getLogger(__name__)
MAX_TARGETS = 16
PROTOCOLS = ("slice", "full", "device")
MEMORY = "evaluation"
"""The record of the node's state that remembers bounds and sample of its groups, and whether it warned."""

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Disclosure:
    """What the node's owner allows.

    names      items whose exposure may be asked for: who asks for the whole catalogue reads histories
    targets    their numbers in the catalogue, once :meth:`on` has found them
    min_group  devices in the smallest group whose sums leave the node
    epsilon    of the randomised response of a node with fewer devices in all, for each evaluation; 0 abstains
    negatives  protocols to train by; under `device` the numbers of the rows name the items of a history
    min_noise  least σ of the noise on an update (client.noise), which a task must clip too; 0 asks for none
    components models and regularisers from outside (``module:Class``) that a server may name: it names code
    """

    names: tuple[str, ...] = ()
    targets: frozenset[int] = frozenset()
    min_group: int = 5
    epsilon: float = 3.0
    negatives: tuple[str, ...] = ("slice", "full")
    min_noise: float = 0.0
    components: frozenset[str] = frozenset()

    def on(self, number: Callable[[str, str], int]) -> Disclosure:
        """With the numbers that ``number`` (a name, the setting it is in) gives. Raises ConfigError."""
        found = frozenset(number(name, "node config: exposure_targets") for name in self.names)
        return replace(self, targets=found)


def read_disclosure(config: Mapping[str, Scalar]) -> Disclosure:
    """From ``exposure_targets="50,12"``, ``min_group``, ``evaluation_epsilon``, ``negatives="slice,full"``,
    ``min_noise`` and ``components`` of a node config. Raises ConfigError.
    """
    text = str(config.get("exposure_targets", ""))
    names = split_names(text)
    if len(names) > MAX_TARGETS:
        raise ConfigError(
            f"node config: exposure_targets is {text[:60]!r}; "
            f"expected at most {MAX_TARGETS} items, as in 50,#12"
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
    negatives = tuple(
        str(config.get("negatives", ",".join(Disclosure.negatives))).replace(" ", "").split(",")
    )
    if unknown := sorted(set(negatives) - set(PROTOCOLS)):
        raise ConfigError(f"node config: negatives has {unknown[0]!r}; valid: {', '.join(PROTOCOLS)}")
    noise = config.get("min_noise", Disclosure.min_noise)
    if isinstance(noise, str | bool) or not 0 <= noise < math.inf:
        raise ConfigError(f"node config: min_noise is {noise!r}; expected a number from 0")
    components = frozenset(filter(None, str(config.get("components", "")).replace(" ", "").split(",")))
    return Disclosure(names, frozenset(), group, float(epsilon), negatives, float(noise), components)


def check_training(task: TrainTask, tells: Disclosure) -> None:
    """Raises WireError for a task by a protocol, or with less noise, than the owner allows, or whose noise
    would promise what it does not hold."""
    asked = task.train_config.negatives
    if asked not in tells.negatives:
        text = f"{asked!r} is not what this node's config allows: {', '.join(tells.negatives)}"
        raise WireError("meta.train_config", Reason.RANGE.value, f"negatives: {text}")
    client = task.client_config
    noise = client.noise if client.clip else 0.0  # σ; without a clip it says nothing of an update's own size
    if noise and task.train_config.slices > 1:
        text = f"noise beside {task.train_config.slices} slices: which one a device takes would have none"
        raise WireError("meta.train_config", Reason.RANGE.value, text)
    if noise < tells.min_noise:
        asks = f"this node's config asks for {tells.min_noise:g}"
        text = f"noise of {noise:g} (client.noise, beside a client.clip), and {asks}"
        raise WireError("meta.client_config", Reason.RANGE.value, text)


def check_components(model: ModelConfig, regularisers: Sequence[Component], tells: Disclosure) -> None:
    """Raises WireError for code from outside that the owner did not name: nothing of it is imported then."""
    sections = {"model_config": [model.name], "client_config": [term.name for term in regularisers]}
    for section, names in sections.items():
        for name in outside(names):
            if name not in tells.components:
                allowed_ = ", ".join(sorted(tells.components)) or "none"
                text = f"{show(name)} is not among this node's components: {allowed_}"
                raise WireError(f"meta.{section}", Reason.NOT_ALLOWED.value, text)


def fixed_bounds(task: EvaluateTask, memory: RecordDict) -> tuple[int, int, int]:
    """The bounds of the first task of this split: by shifting them a server could single out one device."""
    kept = _memory(memory)
    if task.split not in kept:
        kept[task.split] = list(task.quartiles)
    first, second, third = cast(list[int], kept[task.split])
    return first, second, third


def fixed_sample(task: EvaluateTask, memory: RecordDict) -> Sample | None:
    """The first sample that was asked for, in place of any other: two would differ by few devices, or one."""
    if task.sample is None:
        return None
    kept = _memory(memory)
    if "salt" not in kept:
        kept["salt"], kept["below"] = task.sample.salt, task.sample.below
    return Sample(cast(str, kept["salt"]), cast(int, kept["below"]))


def allowed(task: EvaluateTask, tells: Disclosure, memory: RecordDict) -> tuple[int, ...]:
    """The targets of ``task`` that the owner named; the first time that some are refused, it is logged."""
    asked = (*task.targets, task.group) if task.group else task.targets
    refused = [t for t in asked if t not in tells.targets]
    if refused and not _memory(memory).setdefault("told", 0):
        _memory(memory)["told"] = 1
        _LOG.warning(
            "the server asks for the exposure of %d items that exposure_targets does not name, such as %d",
            len(refused),
            refused[0],
        )
    return tuple(t for t in task.targets if t in tells.targets)


def allowed_group(task: EvaluateTask, tells: Disclosure) -> int:
    """The item of the group of ``task`` if it is one of the owner's targets, else 0: no group."""
    return task.group if task.group in tells.targets else 0


def grouped(sums: EvaluateSums, min_group: int, others: EvaluateSums, targets: int) -> EvaluateSums:
    """``sums`` of ``min_group`` devices or more, without what fewer make up: quartiles, single targets.

    others: the counts of devices outside the sample. Sums of all less those of the sample are theirs, so that
    they must not be few either; nor may, for each of the ``targets`` and of both, the devices outside the
    group.
    """
    count, metrics = sums.count.clone(), sums.metrics.clone()
    both = torch.stack([count[1:], others.count[1:]])  # [2, 4]
    if bool(((both > 0) & (both < min_group)).any()):
        count[1:], metrics[1:] = 0, 0  # all four: one group is "all" without the others
    few_others = (others.eligible > 0) & (others.eligible < min_group)  # [t]
    many = (sums.eligible >= min_group) & ~few_others  # [t]
    if len(many) > targets:
        outside = torch.stack([one.eligible[:targets] - one.eligible[targets:] for one in (sums, others)])
        many[targets:] &= ~((outside > 0) & (outside < min_group)).any(dim=0)  # [targets]
    exposure, eligible = sums.exposure * many[:, None], sums.eligible * many
    return replace(sums, metrics=metrics, count=count, exposure=exposure, eligible=eligible)


def placed(sums: EvaluateSums, answered: Sequence[int], asked: EvaluateTask) -> EvaluateSums:
    """Exposures of the targets ``answered`` at their places among those ``asked`` for; zero at the others."""
    place = [asked.targets.index(t) for t in answered]
    place = (place + [len(asked.targets) + p for p in place])[: len(sums.eligible)]  # the group's, if told
    exposure = torch.zeros(asked.exposures, sums.exposure.shape[1], dtype=torch.float64)
    eligible = torch.zeros(asked.exposures, dtype=torch.int64)
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
