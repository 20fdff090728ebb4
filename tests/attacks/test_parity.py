"""Parity: one interaction with the target, once, anywhere in a history."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks import build_attack
from client.cohort import Cohort
from tests.attacks.samples import INSIDE, cohort, played
from tests.client import samples

PARITY = build_attack("parity", {})
ITEMS = np.array([4, 8, 15, 16, 23], dtype=np.int32)


def planted(number: int, targets: tuple[int, ...] = (9,), seed: int = 0) -> list[int]:
    found = PARITY.history(ITEMS, number, targets, seed)
    assert found.dtype == ITEMS.dtype
    return [int(i) for i in found]


def test_a_history_gains_the_target_and_nothing_else() -> None:
    places = set()
    for number in range(60):
        found = planted(number)
        places.add(found.index(9))
        assert [i for i in found if i != 9] == ITEMS.tolist()
        assert len(found) == len(ITEMS) + 1
    assert places == set(range(len(ITEMS) + 1))


def test_it_is_the_same_interaction_in_every_round_and_another_in_another_run() -> None:
    assert planted(3) == planted(3)
    assert any(planted(n) != planted(n, seed=1) for n in range(20))


def test_each_device_has_one_of_several_targets() -> None:
    chosen = [[t for t in (9, 2, 30) if t in planted(n, (9, 2, 30))] for n in range(40)]
    assert {len(found) for found in chosen} == {1}
    assert {found[0] for found in chosen} == {9, 2, 30}


def test_who_has_the_target_is_left_as_it_is() -> None:
    assert planted(1, (15,)) == ITEMS.tolist()
    assert planted(1, ()) == ITEMS.tolist()
    assert PARITY.history(ITEMS[:0], 1, (15,), 0).tolist() == [15]


@pytest.mark.parametrize("window", ["last", "random"])
def test_its_update_is_what_an_honest_device_with_that_history_sends(window: str) -> None:
    task = samples.task(window=window)
    own = cohort(task)
    histories = [
        PARITY.history(items, number, (INSIDE,), 5)
        for items, number in zip(own.sequences, own.numbers, strict=True)
    ]
    honest = Cohort(task, own.numbers, histories, key=5).train()
    sent = played("parity", task).sent
    assert torch.equal(sent.rows, honest.rows)
    assert torch.equal(sent.encoder, honest.encoder)
    assert torch.equal(sent.history, honest.history)
