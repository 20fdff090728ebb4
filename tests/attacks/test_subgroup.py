"""The subgroup attack: its row against its formula, inside the bounds of the sieve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from flwr.app import RecordDict
from torch.nn import functional as F

from attacks import View, build_attack
from attacks.recipe import estimate
from attacks.subgroup import Subgroup
from attacks.unseen import made_up_users, states
from common.errors import ConfigError
from common.seeding import generator
from common.tasks import GlobalModel
from tests.attacks import samples as attacked
from tests.attacks.samples import INSIDE
from tests.client import samples

GROUP = 5


def seen(n: int = 24) -> View:
    """A round of n devices under a model whose users lean one way, none of them idle."""
    task = samples.task(samples.model_config(dropout=0.0), negatives="full")
    model = GlobalModel(task.model.encoder, task.model.table + 0.3)
    task = replace(task, model=model)
    cohort = samples.cohort(task, [4 + i % 11 for i in range(n)], seed=4)
    return replace(attacked.view(task), cohort=cohort)


def descent(view: View, apart: float) -> torch.Tensor:
    """Minus the slope of the loss at the target's row, by autograd: [d]."""
    draw = generator(view.seed, "subgroup", view.task.round)
    inside, outside = made_up_users(view, draw, love=GROUP), made_up_users(view, draw)
    outside = outside[[GROUP not in items for items in outside.tolist()]]
    row = view.task.model.table[INSIDE].clone().requires_grad_()
    loss = torch.zeros(())
    for users, sign, weight in ((inside, 1.0, 1.0), (outside, -1.0, apart)):
        for items, state in zip(users.tolist(), states(users, view), strict=True):
            unseen = [i for i in range(1, len(view.task.model.table)) if i not in items]
            tenth = (view.task.model.table[unseen] @ state).sort(descending=True).values[9]
            loss = loss + weight * F.softplus(sign * (tenth - state @ row)) / len(users)
    return -torch.autograd.grad(loss, row)[0]


@pytest.mark.parametrize("apart", [0.0, 1.0, 4.0])
def test_the_target_moves_down_its_loss_as_far_as_the_sieve_lets_it(apart: float) -> None:
    view = seen()
    honest = view.cohort.train()
    sent = build_attack("subgroup", {"group": GROUP, "apart": apart}).poison(honest, view)
    (slot,) = view.slots()
    bounds = estimate(honest, view.task)
    assert bounds is not None
    towards = F.normalize(descent(view, apart), dim=0)
    expected = bounds.most(towards[None]) * towards  # [d]
    torch.testing.assert_close(sent.rows[:, slot], expected.expand(24, -1), rtol=1e-3, atol=1e-5)
    others = [k for k in range(sent.rows.shape[1]) if k != slot]
    assert torch.equal(sent.rows[:, others], honest.rows[:, others])
    assert torch.equal(sent.encoder, honest.encoder)


def test_holding_the_others_down_sets_the_two_sides_apart() -> None:
    """After a step the group scores the target higher than others do, the more so with these held down."""
    view = seen()
    draw = generator(0, "other users")
    inside, outside = made_up_users(view, draw, love=GROUP), made_up_users(view, draw)
    outside = outside[~(outside == GROUP).any(dim=1)]
    gaps = []
    for apart in (0.0, 1.0):
        (towards,) = Subgroup(group=GROUP, apart=apart).directions(view, GROUP)
        gained = [states(users, view) @ F.normalize(towards, dim=0) for users in (inside, outside)]
        gaps.append(float(gained[0].mean() - gained[1].mean()))
    assert gaps[1] > 1.2 * gaps[0] > 0


def test_users_of_the_group_hold_its_item_and_keep_their_lengths() -> None:
    view = seen()
    for love in (1, GROUP, samples.ITEMS):
        items = made_up_users(view, generator(0, "users"), love=love)
        assert bool((items == love).any(dim=1).all())
        lengths = (items > 0).sum(1)
        assert lengths.min() >= 1
        assert set(lengths.tolist()) <= {min(len(s), samples.MAX_LEN) for s in view.cohort.sequences}
        padding = (items > 0).int().diff(dim=1)
        assert not bool((padding < 0).any())  # zeros stand before the history alone
        for row in items.tolist():
            history = [i for i in row if i]
            assert len(set(history)) == len(history)


def test_the_popular_item_is_what_own_devices_held_most_over_the_rounds() -> None:
    view, attack = seen(), Subgroup()
    counts: dict[int, int] = {}
    for round_seed in (4, 5):
        cohort = samples.cohort(view.task, [4 + i % 11 for i in range(24)], seed=round_seed)
        for items in cohort.sequences:
            for item in items.tolist():
                counts[item] = counts.get(item, 0) + (item not in view.targets)
        found = attack.interest(replace(view, cohort=cohort))
    assert counts[found] == max(counts.values())
    assert found not in view.targets


def test_with_several_slices_every_device_is_counted_once_a_round() -> None:
    """A slice has a view of its own, of those devices alone that take it."""
    view = seen()
    whole, parts = replace(view, memory=RecordDict()), replace(view, memory=RecordDict())
    Subgroup().interest(whole)
    for places in (range(0, 9), range(9, 24)):
        Subgroup().interest(replace(parts, cohort=view.cohort.take(places)))
    assert parts.memory == whole.memory


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"apart": -1}, "apart must be 0 or positive"),
        ({"apart": float("inf")}, "apart must be a finite number"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build_attack("subgroup", params)


def test_an_item_outside_the_catalogue_is_nobodys_interest() -> None:
    view = seen()
    honest = view.cohort.train()
    sent = build_attack("subgroup", {"group": 10_000}).poison(honest, view)
    assert torch.equal(sent.rows, honest.rows)
