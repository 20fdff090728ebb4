"""Real users, as their updates show them."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from attacks.hidden import hidden_states
from client.batch import make_batch
from common.updates import DeviceUpdates
from server.constraints.panel import PULLED, PUSHED, TRAINED
from server.round.evidence import witnesses
from server.round.popularity import marks
from tests.client import samples


def updates(n: int = 6, k: int = 8) -> DeviceUpdates:
    g = torch.Generator().manual_seed(0)
    return DeviceUpdates(
        encoder=torch.zeros(n, 3),
        rows=torch.randn(n, k, 4, generator=g),
        items=torch.arange(11, 11 + k, dtype=torch.int32),
        history=torch.ones(n, dtype=torch.int32),
        device=torch.arange(n),
    )


def gen(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_device_shows_so_many_of_the_rows_it_pulled() -> None:
    sent, found = updates(), torch.full((6, 8), TRAINED, dtype=torch.int8)
    found[0, :5] = PULLED
    found[1, 2] = PULLED
    found[2, :] = PUSHED
    shown = witnesses(sent, found, 3, gen())
    assert len(shown.states) == 4
    rows = F.normalize(sent.rows, dim=2)
    for state, (item,) in zip(shown.states, shown.histories.tolist(), strict=True):
        own = [u for u in range(6) if torch.equal(rows[u, item - 11], state)]
        assert own in ([0], [1])
        assert found[own[0], item - 11] == PULLED
    assert len({tuple(state.tolist()) for state in shown.states}) == 4


def test_the_draw_is_the_generators() -> None:
    found = torch.full((6, 8), PULLED, dtype=torch.int8)
    one, again, other = (witnesses(updates(), found, 3, gen(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.histories, again.histories)
    assert not torch.equal(one.histories, other.histories)
    assert len(one.states) == 18


def test_nobody_pulled_anything() -> None:
    shown = witnesses(updates(), torch.full((6, 8), TRAINED, dtype=torch.int8), 3, gen())
    assert shown.states.shape == (0, 4)
    assert shown.histories.shape == (0, 1)


def test_more_than_there_are_rows_is_all_of_them() -> None:
    assert len(witnesses(updates(), torch.full((6, 8), PULLED, dtype=torch.int8), 99, gen()).states) == 48


def test_what_honest_devices_show_are_their_hidden_states() -> None:
    task = samples.task(samples.model_config(dropout=0.0), negatives="full")
    cohort = samples.cohort(task, [9] * 12, seed=4)
    sent = cohort.train()
    shown = witnesses(sent, marks(sent), 4, gen())
    assert len(shown.states) > 24
    batch = make_batch([list(items) for items in cohort.sequences], 10)  # type: ignore[misc]
    states = F.normalize(hidden_states(batch, task), dim=2)  # [n, L, d]
    found: dict[int, list[float]] = {0: [], 1: []}
    for state, (item,) in zip(shown.states, shown.histories.tolist(), strict=True):
        for other in found:  # the state before the item, and before another one
            before = states[batch.targets == item % samples.ITEMS + other]  # of every device that has it next
            if len(before):
                found[other].append(float((before @ state).max()))
    own, others = (sorted(found[other])[len(found[other]) // 2] for other in found)
    assert own > 0.8  # what is left is what the device has as a negative, much in a small catalogue
    assert own > others + 0.1
