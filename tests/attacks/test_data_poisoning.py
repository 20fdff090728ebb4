"""Random labels and FedAttack: what the devices are made to train on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attacks import build_attack
from attacks.choices import choices
from attacks.hidden import last_states
from client.batch import Batch, make_batch
from common.models import build_model, layout_of
from common.tasks import TrainTask
from tests.attacks.samples import cohort, played, view
from tests.client import samples

POISONERS = ("fed_attack", "random_labels")
DEVICE = {"negatives": "device", "device_negatives": 6}


def batch_of(task: TrainTask) -> Batch:
    return make_batch(cohort(task).windows, samples.MAX_LEN)


@pytest.mark.parametrize("name", POISONERS)
@pytest.mark.parametrize("train", [{}, {"negatives": "full"}, DEVICE])
def test_every_label_is_a_row_that_the_device_trains(name: str, train: dict[str, object]) -> None:
    task = samples.task(**train)
    batch, seen = batch_of(task), view(task, ())
    found = build_attack(name, {}).relabel(batch, seen)
    assert torch.equal(found.inputs, batch.inputs)
    assert found.targets.dtype == torch.int64
    assert torch.equal(found.targets > 0, batch.targets > 0)
    rows = seen.cohort.rows
    for device, targets in enumerate(found.targets):
        own = rows.items if rows.candidates is None else rows.items[rows.candidates[device]]
        assert bool(torch.isin(targets[targets > 0], own).all())


@pytest.mark.parametrize("name", POISONERS)
def test_the_update_is_that_of_honest_training_on_false_labels(name: str) -> None:
    task = samples.task(samples.model_config(dropout=0.0))
    attack, seen = build_attack(name, {}), view(task)
    expected = cohort(task).train(lambda batch, devices: attack.relabel(batch, seen))
    assert torch.equal(played(name, task).sent.rows, expected.rows)


@pytest.mark.parametrize("name", POISONERS)
@pytest.mark.parametrize("train", [{}, DEVICE])
def test_nothing_to_predict_and_no_one_are_left_alone(name: str, train: dict[str, object]) -> None:
    task = samples.task(**train)
    empty = make_batch([samples.history(0), samples.history(1)], samples.MAX_LEN)
    found = build_attack(name, {}).relabel(empty, view(task))
    assert torch.equal(found.targets, empty.targets)
    stranger = make_batch([samples.history(7, seed=99)], samples.MAX_LEN)
    found = build_attack(name, {}).relabel(stranger, view(task))
    assert torch.equal(found.targets, stranger.targets) == bool(train)


def test_random_labels_are_uniform_over_the_slice() -> None:
    task = samples.task()
    wide = Batch(torch.full((400, 10), 3), torch.full((400, 10), 4))
    found = build_attack("random_labels", {}).relabel(wide, view(task)).targets
    counts = torch.stack([(found == item).sum() for item in task.items]).double()
    expected = found.numel() / len(task.items)
    assert int(counts.sum()) == found.numel()
    assert float(((counts - expected) ** 2 / expected).sum()) < 35  # χ² with 13 degrees of freedom, p ≈ .001


def test_random_labels_are_drawn_anew_for_each_position_and_seed() -> None:
    task = samples.task()
    attack, batch = build_attack("random_labels", {}), batch_of(task)
    first, again, other = (attack.relabel(batch, view(task, seed=s)).targets for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(set(first[-1].tolist())) > 2


@pytest.mark.parametrize("train", [{}, {"negatives": "full"}, DEVICE])
@pytest.mark.parametrize("model", ["sasrec", "gru4rec"])
def test_fed_attack_chooses_the_furthest_item_for_each_hidden_state(
    model: str, train: dict[str, object]
) -> None:
    task = samples.task(samples.model_config(name=model), **train)
    batch, seen = batch_of(task), view(task, ())
    found = build_attack("fed_attack", {}).relabel(batch, seen).targets
    encoder = build_model(task.model_config).eval()
    named = layout_of(encoder).unflatten(task.model.encoder)
    encoder.load_state_dict(named)
    rows = seen.cohort.rows
    different = set()
    for device, inputs in enumerate(batch.inputs):
        hidden = encoder(task.model.table[inputs], inputs == 0).detach()  # [ℓ, d]
        own = rows.items if rows.candidates is None else rows.items[rows.candidates[device]]
        for place in batch.targets[device].nonzero().flatten().tolist():
            scores = {int(i): float(hidden[place] @ task.model.table[int(i)]) for i in own}
            chosen = int(found[device, place])
            assert scores[chosen] == pytest.approx(min(scores.values()), abs=1e-5)
            different.add(chosen)
    assert len(different) > 1


def test_the_closest_item_is_the_negative_that_fed_attack_pushes_furthest() -> None:
    """The paper's hard negative needs no choice of its own: the softmax weighs all by their closeness."""
    task = samples.task(samples.model_config(dropout=0.0), negatives="full", local_steps=1)
    attack, own = build_attack("fed_attack", {}), samples.cohort(task, (2,))
    seen = replace(view(task, ()), cohort=own)
    read = int(own.sequences[0][0])
    (label,) = attack.relabel(make_batch(own.windows, samples.MAX_LEN), seen).targets.unique()[1:].tolist()
    update = own.train(lambda batch, devices: attack.relabel(batch, seen))
    pushed = update.rows[0].norm(dim=1).tolist()  # [N]
    before = replace(seen, cohort=replace(own, sequences=[np.array([read], dtype=np.int32)]))
    scores = (task.model.table[1:] @ last_states(before)[0]).tolist()  # [N]
    assert scores[label - 1] == min(scores)
    others = [i for i in range(samples.ITEMS) if i + 1 not in (read, label)]  # an input's row moves anyway
    closest_first = sorted(others, key=scores.__getitem__, reverse=True)
    assert sorted(others, key=pushed.__getitem__, reverse=True) == closest_first


def test_fed_attack_is_the_same_in_every_bucket_length() -> None:
    task = samples.task()
    windows = [samples.history(6)]
    short, long = (make_batch(windows, length) for length in (6, samples.MAX_LEN))
    attack = build_attack("fed_attack", {})
    assert torch.equal(
        attack.relabel(short, view(task)).targets, attack.relabel(long, view(task)).targets[:, -6:]
    )


def test_devices_with_one_window_get_what_both_hold() -> None:
    task = samples.task(**DEVICE)
    same = [samples.history(5)] * 2
    twins = replace(samples.cohort(task, (5, 5)), sequences=same)
    seen = replace(view(task), cohort=twins)
    candidates = twins.rows.candidates
    assert candidates is not None
    assert not torch.equal(candidates[0], candidates[1])
    found = choices(make_batch(same, samples.MAX_LEN), seen)
    assert torch.equal(found, (candidates[0] & candidates[1]).expand(2, -1))
    assert bool(found.any(dim=1).all())  # the items of the window itself at least


def test_with_a_slice_every_row_is_open() -> None:
    task = samples.task()
    assert bool(choices(batch_of(task), view(task)).all())
