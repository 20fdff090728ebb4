"""What holds for every attack."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from flwr.app import RecordDict

from attacks import ATTACKS, Attack, build_attack
from client.ranking import score
from common.errors import ConfigError, UnknownName
from common.models import build_model
from common.updates import DeviceUpdates
from server.round.faults import faults
from tests.attacks.samples import INSIDE, LENGTHS, OUTSIDE, cohort, equal, play, played, view
from tests.client import samples

EACH = pytest.mark.parametrize("name", sorted(ATTACKS))
TARGETED = [name for name, rule in ATTACKS.items() if rule.goal == "targeted"]
GUESSING = ("a_ra", "a_hum", "fed_rec_attack", "pieck_ipe", "pieck_uea", "poison_frs", "psmu")
"""They guess the users from the item table, which says nothing about them before it is trained."""
TAMPERING = {
    name
    for name, rule in ATTACKS.items()
    if rule.tamper is not Attack.tamper or rule.evaluation is not Attack.evaluation
}
"""Attacks on a finished message, which leave the updates as they are: see test_forgeries.py and
tests/server/test_lying_evaluation.py."""

REWRITING = {name for name, rule in ATTACKS.items() if rule.history is not Attack.history}
"""Attacks that change the history itself: their devices are honest ones of another history."""

NEGATIVES = pytest.mark.parametrize("negatives", ["slice", "full", "device"])


@EACH
@NEGATIVES
def test_admission_refuses_only_what_is_a_protocol_attack(name: str, negatives: str) -> None:
    """Data and model attacks must reach the rule, or the rule would be praised for what admission did."""
    sent = played(name, samples.task(negatives=negatives, device_negatives=6)).sent
    found = faults(sent)
    refused = ATTACKS[name].kind == "protocol" and name not in TAMPERING
    assert set(found) == (set(range(len(LENGTHS))) if refused else set())


@EACH
def test_it_does_something(name: str) -> None:
    round_ = played(name, samples.task())
    assert equal(round_.honest, round_.sent) == (name == "control" or name in TAMPERING)


@pytest.mark.parametrize("name", [name for name in TARGETED if name not in GUESSING])
def test_a_targeted_attack_pulls_its_target_towards_the_users(name: str) -> None:
    """After one step of the attackers' own mean the target scores higher for their devices."""
    task = samples.task(samples.model_config(dropout=0.0))
    round_ = played(name, task)
    place = round_.seen.slots()
    assert place == [task.items.tolist().index(INSIDE)]
    model = build_model(task.model_config).eval()
    sequences = cohort(task).sequences

    def target_score(updates: DeviceUpdates) -> float:
        table = task.model.table.clone()
        table[task.items.long()] += 0.1 * updates.rows.mean(0)
        moved = dataclasses.replace(task.model, table=table)
        return float(score(model, moved, sequences, samples.MAX_LEN)[:, INSIDE].detach().mean())

    assert target_score(round_.sent) > target_score(round_.honest)


@EACH
def test_every_attack_says_what_it_is(name: str) -> None:
    rule = ATTACKS[name]
    assert rule.kind in ("none", "data", "model", "protocol")
    assert rule.goal in ("none", "untargeted", "targeted")
    assert rule.knowledge
    assert rule.__doc__
    assert inspect.getmodule(rule).__name__ == f"attacks.{name}"  # type: ignore[union-attr]
    assert issubclass(rule, Attack)
    assert (rule.kind == "none") == (name == "control")


@EACH
def test_every_parameter_has_a_default_and_no_other_is_taken(name: str) -> None:
    assert build_attack(name, {}) == ATTACKS[name]()
    with pytest.raises(ConfigError, match=f"attack '{name}' has no parameter 'strength'"):
        build_attack(name, {"strength": 1})


def test_a_wrong_parameter_is_told_what_every_attack_has() -> None:
    with pytest.raises(ConfigError, match=r"no parameter 'fraction'.* of every attack: name, share, targets"):
        build_attack("label_to_target", {"fraction": 0.2})


def test_an_unknown_attack_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownName, match="unknown attack 'label'.* valid: .*label_to_target"):
        build_attack("label", {})


def test_the_base_is_an_honest_device() -> None:
    task = samples.task()
    round_ = play(Attack(), task)
    assert equal(round_.honest, round_.sent)
    reply = RecordDict()
    assert Attack().tamper(reply, round_.seen) is reply


def test_slots_are_the_places_of_the_targets_in_the_slice() -> None:
    task = samples.task()
    assert view(task, (OUTSIDE,)).slots() == []
    assert view(task, (30, OUTSIDE, 1)).slots() == [13, 0]
    assert view(samples.task(negatives="full"), (30, OUTSIDE)).slots() == [29, 9]
