"""Each attack against its formula."""

from __future__ import annotations

import pytest
import torch

from attacks import build_attack
from client.batch import Batch, make_batch
from tests.attacks.samples import INSIDE, OUTSIDE, cohort, played, view
from tests.client import samples


@pytest.mark.parametrize("scale", [4.0, 1.0, 0.5])
def test_sign_flip_is_the_honest_update_reversed_and_enlarged(scale: float) -> None:
    round_ = played("sign_flip", samples.task(), scale=scale)
    assert torch.equal(round_.sent.encoder, -scale * round_.honest.encoder)
    assert torch.equal(round_.sent.rows, -scale * round_.honest.rows)


def test_sign_flip_enlarges_four_times_by_default() -> None:
    round_ = played("sign_flip", samples.task())
    assert torch.equal(round_.sent.rows, -4 * round_.honest.rows)


@pytest.mark.parametrize("scale", [10.0, 3.0])
def test_gaussian_has_the_size_of_the_honest_block_times_scale(scale: float) -> None:
    round_ = played("gaussian", samples.task(negatives="full"), scale=scale)
    for block in ("encoder", "rows"):
        honest, sent = getattr(round_.honest, block), getattr(round_.sent, block)
        assert float(sent.std()) == pytest.approx(scale * float(honest.square().mean().sqrt()), rel=0.1)
        assert abs(float(sent.mean())) < 0.2 * float(sent.std())
        correlation = torch.corrcoef(torch.stack([honest.flatten(), sent.flatten()]))[0, 1]
        assert abs(float(correlation)) < 0.1
    assert not torch.equal(round_.sent.rows[0], round_.sent.rows[1])


def test_gaussian_noise_stays_in_a_devices_own_rows() -> None:
    round_ = played("gaussian", samples.task(negatives="device", device_negatives=6))
    sent, touched = round_.sent, round_.sent.touched
    assert touched is not None
    assert not bool(sent.rows[~touched].any())
    assert bool(sent.rows[touched].all())
    rms = float(round_.honest.rows[touched].square().mean().sqrt())
    assert float(sent.rows[touched].std()) == pytest.approx(10 * rms, rel=0.1)


def test_nan_is_one_value_a_block_and_the_rest_is_honest() -> None:
    round_ = played("nan", samples.task())
    for block in ("encoder", "rows"):
        honest, sent = getattr(round_.honest, block), getattr(round_.sent, block)
        bad = sent.isnan()
        assert bad.flatten(1).sum(1).tolist() == [1] * len(sent)
        assert torch.equal(sent[~bad], honest[~bad])


def windows(*lengths: int) -> Batch:
    return make_batch([samples.history(n) for n in lengths], samples.MAX_LEN)


def test_label_to_target_says_every_next_item_is_the_target() -> None:
    batch, seen = windows(0, 1, 2, 6, 11), view(samples.task())
    found = build_attack("label_to_target", {}).relabel(batch, seen)
    assert torch.equal(found.inputs, batch.inputs)
    real = batch.targets > 0
    assert bool((found.targets[real] == INSIDE).all())
    assert not bool(found.targets[~real].any())
    assert found.targets.dtype == torch.int64


def test_several_targets_take_turns_over_the_positions() -> None:
    found = build_attack("label_to_target", {}).relabel(windows(11), view(samples.task(), (3, 8, 4)))
    assert found.targets.tolist() == [[3, 8, 4] * 3 + [3]]


def test_without_targets_the_labels_stay() -> None:
    batch = windows(6)
    assert build_attack("label_to_target", {}).relabel(batch, view(samples.task(), ())) is batch


def test_the_label_poisoners_update_is_that_of_honest_training_on_false_labels() -> None:
    """The same as a device whose next items really were the target: nothing is scaled or edited."""
    task = samples.task(samples.model_config(dropout=0.0))
    round_ = played("label_to_target", task)

    def relabel(batch: Batch, devices: object) -> Batch:
        return Batch(batch.inputs, torch.where(batch.targets > 0, INSIDE, 0))

    expected = cohort(task).train(relabel)
    assert torch.equal(round_.sent.rows, expected.rows)
    place = round_.seen.slots()[0]
    largest = round_.sent.rows.norm(dim=2).argmax(dim=1)
    assert largest.tolist()[1:] == [place] * (len(largest) - 1)  # all but the one of a single interaction


@pytest.mark.parametrize("negatives", ["slice", "device"])
@pytest.mark.parametrize("boost", [10.0, 2.0])
def test_explicit_boost_changes_the_targets_row_alone(boost: float, negatives: str) -> None:
    """g_target = boost · the target's row of a label poisoner with the same draws; all else honest."""
    task = samples.task(negatives=negatives, device_negatives=6, window="random")
    round_ = played("explicit_boost", task, boost=boost)
    place = round_.seen.slots()
    others = [i for i in range(len(round_.sent.items)) if i not in place]
    assert torch.equal(round_.sent.encoder, round_.honest.encoder)
    assert torch.equal(round_.sent.rows[:, others], round_.honest.rows[:, others])
    pushed = played("label_to_target", task).sent
    torch.testing.assert_close(round_.sent.rows[:, place], boost * pushed.rows[:, place])
    assert bool(round_.sent.rows[:, place].any(dim=2).all())


def test_explicit_boost_serves_the_targets_that_the_round_trains() -> None:
    task = samples.task()
    both = played("explicit_boost", task, (INSIDE, OUTSIDE, 3))
    assert both.seen.slots() == [task.items.tolist().index(i) for i in (INSIDE, 3)]
    changed = (both.sent.rows != both.honest.rows).any(dim=2).any(dim=0)
    assert changed.nonzero().flatten().tolist() == sorted(both.seen.slots())


def test_control_is_honest_in_every_door() -> None:
    round_ = played("control", samples.task())
    assert torch.equal(round_.sent.rows, round_.honest.rows)
    batch = windows(6)
    assert build_attack("control", {}).relabel(batch, round_.seen) is batch


def test_colluders_share_their_draws_and_rounds_differ() -> None:
    task = samples.task()
    attack, honest = build_attack("gaussian", {}), cohort(task).train()
    first, again, second = (attack.poison(honest, view(task, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.rows, again.rows)
    assert not torch.equal(first.rows, second.rows)
