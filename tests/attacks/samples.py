"""A malicious node in a round: its devices, its targets, and its honest reply."""

from __future__ import annotations

from attacks import Attack, build_attack
from common.tasks import TrainTask
from experiments.contracts import attacks as contract
from experiments.contracts.attacks import INSIDE as INSIDE
from experiments.contracts.attacks import LENGTHS as LENGTHS
from experiments.contracts.attacks import OUTSIDE as OUTSIDE
from experiments.contracts.attacks import Played as Played
from experiments.contracts.attacks import cohort as cohort
from experiments.contracts.attacks import equal as equal
from experiments.contracts.attacks import poisoned_histories as poisoned_histories
from experiments.contracts.attacks import task_seed as task_seed
from experiments.contracts.attacks import view as view

REMEMBERING = ("pieck_ipe", "pieck_uea")
"""Attacks that can do nothing before they have seen an earlier model."""


def play(attack: Attack, task: TrainTask, targets: tuple[int, ...] = (INSIDE,), seed: int = 0) -> Played:
    """Exactly what the ClientApp does with an attack; one that remembers has seen a round before."""
    earlier = type(attack).__module__.removeprefix("attacks.") in REMEMBERING
    return contract.play(attack, task, targets, seed, earlier)


def played(name: str, task: TrainTask, targets: tuple[int, ...] = (INSIDE,), **params: object) -> Played:
    return play(build_attack(name, params), task, targets)
