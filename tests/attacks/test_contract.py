"""What holds for every attack."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch
from flwr.app import RecordDict

from attacks import ATTACKS, Attack, build_attack
from client.batch import Batch
from client.ranking import score
from common import wire
from common.errors import ConfigError, UnknownName
from common.models import build_model
from common.updates import DeviceUpdates
from common.wire import UpdateSpec
from server.round.admission import faults
from tests.attacks.samples import INSIDE, LENGTHS, OUTSIDE, cohort, play, played, view
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


def equal(a: DeviceUpdates, b: DeviceUpdates) -> bool:
    """Bit for bit, NaN included."""
    return all(
        torch.equal(torch.nan_to_num(getattr(a, f), nan=1e30), torch.nan_to_num(getattr(b, f), nan=1e30))
        for f in ("encoder", "rows")
    )


@EACH
@NEGATIVES
def test_a_reply_has_the_shape_of_an_honest_one(name: str, negatives: str) -> None:
    round_ = played(name, samples.task(negatives=negatives, device_negatives=6))
    honest, sent = round_.honest, round_.sent
    assert sent.encoder.shape == honest.encoder.shape
    if name in REWRITING:
        assert torch.equal(sent.device, honest.device)
        assert sent.rows.shape[::2] == honest.rows.shape[::2]
        return
    assert sent.rows.shape == honest.rows.shape
    assert sent.encoder.dtype == sent.rows.dtype == torch.float32
    for field in ("items", "device", "history", "touched"):
        mine, theirs = getattr(sent, field), getattr(honest, field)
        assert (mine is None and theirs is None) or torch.equal(mine, theirs)


@EACH
@NEGATIVES
def test_admission_refuses_only_what_is_a_protocol_attack(name: str, negatives: str) -> None:
    """Data and model attacks must reach the rule, or the rule would be praised for what admission did."""
    sent = played(name, samples.task(negatives=negatives, device_negatives=6)).sent
    found = faults(sent)
    refused = ATTACKS[name].kind == "protocol" and name not in TAMPERING
    assert set(found) == (set(range(len(LENGTHS))) if refused else set())


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - TAMPERING))
def test_an_attacked_reply_travels(name: str) -> None:
    task = samples.task()
    sent = played(name, task).sent
    for dtype in ("float16", "float32"):
        record = wire.encode_updates(sent, task.run, task.round, dtype)  # type: ignore[arg-type]
        spec = UpdateSpec(
            run=task.run,
            round=task.round,
            num_parameters=len(task.model.encoder),
            dim=samples.DIM,
            items=task.items,
            num_items=samples.ITEMS,
            devices=torch.arange(len(LENGTHS)),
        )
        found = wire.decode_updates(build_attack(name, {}).tamper(record, view(task)), spec)
        assert torch.equal(found.rows.isfinite(), sent.rows.isfinite())
        torch.testing.assert_close(found.encoder, sent.encoder, rtol=2e-3, atol=2e-3, equal_nan=True)


@EACH
@NEGATIVES
def test_the_same_seed_gives_the_same_attack(name: str, negatives: str) -> None:
    task = samples.task(negatives=negatives, device_negatives=6, window="random")
    torch.manual_seed(1)
    first = played(name, task).sent
    torch.manual_seed(2)
    assert equal(first, played(name, task).sent)


@EACH
def test_what_it_is_given_is_left_as_it_was(name: str) -> None:
    task = samples.task()
    encoder, table = task.model.encoder.clone(), task.model.table.clone()
    attack, seen = build_attack(name, {}), view(task)
    batch_inputs = torch.tensor([[0, 3, 7]])
    batch_targets = torch.tensor([[0, 7, 4]])
    batch = Batch(batch_inputs.clone(), batch_targets.clone())
    attack.relabel(batch, seen)
    assert torch.equal(batch.inputs, batch_inputs)
    assert torch.equal(batch.targets, batch_targets)
    honest = cohort(task).train()
    copy = dataclasses.replace(honest, encoder=honest.encoder.clone(), rows=honest.rows.clone())
    sent = attack.poison(honest, seen)
    assert equal(honest, copy)
    if sent is not honest:
        sent.rows.fill_(7.0)
        assert torch.equal(honest.rows, copy.rows)
    assert torch.equal(task.model.encoder, encoder)
    assert torch.equal(task.model.table, table)


@EACH
def test_it_does_something(name: str) -> None:
    round_ = played(name, samples.task())
    assert equal(round_.honest, round_.sent) == (name == "control" or name in TAMPERING)


@pytest.mark.parametrize("name", [name for name in TARGETED if name not in REWRITING])
@pytest.mark.parametrize("targets", [(), (OUTSIDE,)])
def test_a_target_that_the_round_does_not_train_is_not_pushed(name: str, targets: tuple[int, ...]) -> None:
    """No row stands out: the update is honest, or (labels that are in no slice) says nothing at all."""
    round_ = played(name, samples.task(), targets)
    silent = not bool(round_.sent.rows.any()) and not bool(round_.sent.encoder.any())
    assert equal(round_.honest, round_.sent) or silent


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


def test_an_unknown_attack_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownName, match="unknown attack 'label'; valid: .*label_to_target"):
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
