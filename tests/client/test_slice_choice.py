"""Which of several slices a device takes, and that it trains there as in a round of that slice alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from attacks.base import Attack
from attacks.label_to_target import LabelToTarget
from attacks.parity import Parity
from client.app import honest_round
from client.cohort import Cohort
from client.disclosure import Disclosure, check_training
from client.fleet import Fleet
from client.node_settings import NodeSettings
from common import wire
from common.config import ClientConfig
from common.data.ragged import Ragged
from common.errors import WireError
from common.tasks import TrainTask
from tests.client.samples import ITEMS, LENGTHS, histories, task

SLICES = torch.tensor([[1, 4, 9], [2, 5, 6], [3, 7, 8]], dtype=torch.int32)


def several(**train: object) -> TrainTask:
    base = task(**{"slices": 3, **train})
    return replace(base, items=SLICES.flatten(), log_q=torch.full((9,), -0.7))


def cohort(*sequences: list[int], round_: int = 3, **train: object) -> Cohort:
    what = replace(several(**train), round=round_)
    return Cohort(what, range(len(sequences)), [np.array(s, dtype=np.int32) for s in sequences], key=5)


def taken(one: Cohort) -> list[int]:
    return one.targets.most().tolist()


def test_a_device_takes_the_slice_with_most_of_its_next_items() -> None:
    """The first item of a window is nobody's next item, and a repeated one counts each time."""
    one = cohort([4, 2, 5, 1], [2, 3, 3, 1], [1, 9, 4, 2], [7, 11])
    assert one.targets.per_slice.tolist() == [[1, 2, 0], [1, 0, 2], [2, 1, 0], [0, 0, 0]]
    assert taken(one)[:3] == [1, 2, 0]
    assert one.busy().tolist() == [0, 1, 2]


def test_ties_are_a_fair_draw_of_the_device() -> None:
    found = [taken(cohort([10, 1, 2], [10, 1, 3], [10, 11], round_=n)) for n in range(400)]
    counts = [np.bincount(column, minlength=3) for column in np.array(found).T]
    assert counts[0][2] == counts[1][1] == 0
    assert all(150 < n < 250 for n in [*counts[0][:2], *counts[1][[0, 2]]])
    assert all(90 < n < 180 for n in counts[2])  # nothing to predict: any of the three
    assert found == [taken(cohort([10, 1, 2], [10, 1, 3], [10, 11], round_=n)) for n in range(400)]
    alone = cohort([10, 1, 2], [10, 1, 3]).take([1])
    assert taken(alone)[0] == found[3][1]  # in whatever company


def test_parts_train_as_in_a_round_of_their_slice() -> None:
    whole = Cohort(several(local_steps=2), range(len(LENGTHS)), histories(LENGTHS), key=5)
    chosen = whole.targets.most()
    parts = whole.by_slice()
    assert sorted(n for _, part in parts for n in part.devices.tolist()) == list(range(len(LENGTHS)))
    assert len(parts) > 1
    for number, part in parts:
        assert part.devices.tolist() == np.flatnonzero(chosen == number).tolist()
        alone = replace(task(local_steps=2), items=SLICES[number], log_q=torch.full((3,), -0.7))
        expected = replace(part, task=alone).train()
        assert torch.equal(part.train().rows, expected.rows)
        assert torch.equal(part.train().items, SLICES[number])


def test_one_slice_is_no_choice() -> None:
    one = Cohort(task(), range(len(LENGTHS)), histories(LENGTHS), key=5)
    assert one.by_slice() == [(0, one)]


def fleet() -> Fleet:
    whole = [np.append(h, [1, 1]).astype(np.int32) for h in histories(LENGTHS)]  # the last two are held out
    return Fleet(np.arange(len(LENGTHS)), Ragged.of(whole, np.int32), ITEMS)


@pytest.mark.parametrize("decoys", [0, 1])
def test_a_node_answers_with_the_slice_of_each_busy_device(decoys: int) -> None:
    what = replace(several(), client_config=ClientConfig(decoys=decoys), devices=torch.arange(len(LENGTHS)))
    settings = NodeSettings(repeatable=True, seed=5)
    spec = wire.UpdateSpec("r", 3, len(what.model.encoder), 8, what.rows, ITEMS, what.devices)
    got = wire.decode_updates(honest_round(what, fleet(), settings, RecordDict()), spec)
    one = Cohort(what, range(len(LENGTHS)), fleet().trained, key=5)
    assert got.slice is not None
    assert got.idle is not None
    assert sorted(got.device.tolist()) == one.busy().tolist()
    assert sorted([*got.device.tolist(), *got.idle.tolist()]) == list(range(len(LENGTHS)))
    chosen = one.targets.most()
    assert got.slice.tolist() == [chosen[n] for n in got.device.tolist()]
    assert got.rows.shape == (len(got), 3, 8)
    rows = {n: got.rows[k] for k, n in enumerate(got.device.tolist())}
    trained = [part.train() for _, part in one.take(one.busy()).by_slice()]
    plain = {n: part.rows[k] for part in trained for k, n in enumerate(part.device.tolist())}
    same = [torch.equal(rows[n], plain[n]) for n in rows]
    assert all(same) != bool(decoys)


def test_a_node_adds_no_noise_that_its_choice_would_undo() -> None:
    noisy = ClientConfig(clip=1.0, noise=0.5)
    check_training(replace(task(), client_config=noisy), Disclosure())
    with pytest.raises(WireError, match="noise beside 3 slices"):
        check_training(replace(several(), client_config=noisy), Disclosure())


def aimed(rule: Attack, *targets: int) -> list[int]:
    one = cohort([4, 2, 5], [2, 3, 7], [9, 1, 4], [10, 11])
    return rule.slices(one, targets).tolist()


def test_an_attack_takes_the_slice_of_its_target() -> None:
    honest = taken(cohort([4, 2, 5], [2, 3, 7], [9, 1, 4], [10, 11]))
    assert aimed(LabelToTarget(), 6) == [1] * 4
    assert aimed(LabelToTarget(), 6, 7, 3) == [2] * 4  # two of three targets are there
    assert set(aimed(LabelToTarget(), 6, 7)) <= {1, 2}  # as many in each: every device for itself
    assert aimed(LabelToTarget(), 12) == honest  # nowhere in this round
    assert aimed(LabelToTarget(), 10**6) == honest
    assert aimed(LabelToTarget()) == honest
    assert aimed(Parity(), 6) == honest  # it cheats in nothing but its history
    assert aimed(Attack(), 6) == honest  # untargeted
