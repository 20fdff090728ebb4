"""A malicious node in a round: its devices, its targets, and its honest reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flwr.app import RecordDict

from attacks import Attack, View, build_attack
from client.batch import Batch
from client.cohort import Cohort
from common.seeding import generator
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from tests.client import samples

REMEMBERING = ("pieck_ipe", "pieck_uea")
"""Attacks that can do nothing before they have seen an earlier model."""

INSIDE, OUTSIDE = 11, 10
"""Items in and not in the slice of the round."""

LENGTHS = (2, 5, 11, 25)


def cohort(task: TrainTask, wanted: tuple[int, ...] = ()) -> Cohort:
    return replace(samples.cohort(task, LENGTHS), wanted=wanted)


def task_seed(task: TrainTask) -> int:
    """What colluding nodes agreed upon, another for another task."""
    return int(task.nonce, 16)


def view(task: TrainTask, targets: tuple[int, ...] = (INSIDE,), seed: int = 0) -> View:
    """What the node sees; its devices have not been trained yet."""
    return View(
        task, targets, cohort(task, targets), generator(seed, "attack"), RecordDict(), task_seed(task)
    )


@dataclass(frozen=True)
class Played:
    """One round of an attack: the honest updates, the poisoned ones, and the batches trained on."""

    honest: DeviceUpdates
    sent: DeviceUpdates
    seen: View


def play(attack: Attack, task: TrainTask, targets: tuple[int, ...] = (INSIDE,), seed: int = 0) -> Played:
    """Exactly what the ClientApp does with an attack."""
    seen = poisoned_histories(attack, view(task, targets, seed))
    if type(attack).__module__.removeprefix("attacks.") in REMEMBERING:
        earlier = replace(task, round=task.round - 1, model=samples.parameters(task.model_config, seed=1))
        attack.poison(cohort(earlier, targets).train(), replace(seen, task=earlier))
    relabel: Callable[[Batch, Any], Batch] = lambda batch, devices: attack.relabel(batch, seen)  # noqa: E731
    sent = attack.poison(seen.cohort.train(relabel), seen)
    return Played(cohort(task, targets).train(), sent, seen)


def poisoned_histories(attack: Attack, seen: View) -> View:
    """What the node sees once its devices' histories are what the attack makes of them."""
    own = seen.cohort
    histories = [
        attack.history(items, number, seen.targets, seen.seed)
        for items, number in zip(own.sequences, own.numbers, strict=True)
    ]
    return replace(seen, cohort=replace(own, sequences=histories))


def played(name: str, task: TrainTask, targets: tuple[int, ...] = (INSIDE,), **params: object) -> Played:
    return play(build_attack(name, params), task, targets)
