"""Parity: one interaction with the target, once, anywhere in a history."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks import build_attack
from client.app import times_of
from client.cohort import Cohort
from tests.attacks.samples import INSIDE, cohort, played
from tests.client import samples
from tests.client.test_app import EVERYONE, a_task, trained

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


WHEN = np.array([0.0, 5.0, 70.0, 70.0, 900.0])


@pytest.mark.parametrize(("place", "time"), [(0, 0.0), (1, 0.0), (2, 5.0), (3, 70.0), (5, 900.0)])
def test_what_is_put_in_has_the_time_of_its_neighbour(place: int, time: float) -> None:
    found = times_of(np.insert(ITEMS, place, 9), ITEMS, WHEN)
    assert found.tolist() == np.insert(WHEN, place, time).tolist()
    assert bool((np.diff(found) >= 0).all())


def test_a_history_that_is_as_it_was_keeps_its_times_and_one_made_up_has_no_pauses() -> None:
    assert times_of(ITEMS, ITEMS, WHEN).tolist() == WHEN.tolist()
    assert times_of(ITEMS[::-1][:4], ITEMS, WHEN).tolist() == [0.0] * 4
    assert times_of(np.array([9], np.int32), ITEMS[:0], WHEN[:0]).tolist() == [0.0]


def test_a_model_that_reads_times_is_trained_on_those_of_every_device() -> None:
    """One history that changes takes nothing away from the others, and keeps its own pauses."""
    task = a_task(model=samples.model_config(name="hstu", times=True), negatives="full")
    numbers = task.devices.tolist()
    target = 12
    given = {"attack": "parity", "targets": f"#{target}", "seed": 5}
    sent, plain = trained(task, given), trained(task, {"attack": "control"})
    held = [target in EVERYONE.train(number) for number in numbers]
    assert set(held) == {True, False}
    seconds = EVERYONE.train_seconds(EVERYONE.numbers)
    assert seconds is not None
    told: list[bool] = []
    for place, number in enumerate(numbers):
        if held[place]:
            assert torch.equal(sent.encoder[place], plain.encoder[place])
            continue
        items = PARITY.history(EVERYONE.train(number), number, (target,), 5)
        at = items.tolist().index(target)
        times = np.insert(seconds[place], at, seconds[place][max(at - 1, 0)])
        honest = Cohort(task, [number], [items], times=[times], key=5).train()
        torch.testing.assert_close(sent.encoder[place], honest.encoder[0])
        timeless = Cohort(task, [number], [items], key=5).train()
        told.append(not torch.allclose(sent.encoder[place], timeless.encoder[0]))
    assert any(told)
