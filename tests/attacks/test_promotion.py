"""Each attack on the target's row against its formula, written out in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks import View
from attacks.a_hum import AHum
from attacks.a_ra import ARa
from attacks.fed_rec_attack import FedRecAttack
from attacks.mining import mine
from attacks.pieck_ipe import PieckIpe
from attacks.pip_attack import HIGH, LOW, MIDDLE, PipAttack, logits, popularity_classes
from attacks.poison_frs import MEMORY, PoisonFrs
from attacks.psmu import Psmu
from attacks.pushing import interaction_size, push
from attacks.users import best_items, fit_users, most_alike
from common.seeding import generator
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from common.wire.arrays import unpack
from tests.attacks.samples import INSIDE, OUTSIDE, cohort, play, played, view
from tests.client import samples

ROWS_ONLY = ("a_ra", "a_hum", "pieck_ipe", "pieck_uea", "psmu", "poison_frs", "pip_attack")


def gradient(loss: Any, at: Tensor) -> Tensor:
    """∇loss at a point, in float64."""
    leaf = at.double().clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def direction(sent: DeviceUpdates, seen: View, item: int = INSIDE) -> Tensor:
    """Unit vectors of the row of ``item`` that the devices with something to say send: [≤ n, d]."""
    rows = sent.rows[:, seen.task.items.tolist().index(item)]
    return F.normalize(rows[rows.any(dim=1)].double(), dim=1)


def parallel(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(
        F.normalize(found.double(), dim=-1), F.normalize(expected, dim=-1), atol=tolerance, rtol=0
    )


def test_the_size_of_an_interaction_is_the_energy_weighted_row_norm() -> None:
    updates = cohort(samples.task()).train()
    norms = updates.rows.double().norm(dim=2).numpy()
    expected = [math.sqrt((r**4).sum() / (r**2).sum()) if r.any() else 0.0 for r in norms]
    np.testing.assert_allclose(interaction_size(updates).numpy(), expected, rtol=1e-5)
    idle = replace(updates, rows=torch.zeros_like(updates.rows))
    assert interaction_size(idle).tolist() == [0.0] * len(updates)


@pytest.mark.parametrize("boost", [10.0, 1.0])
@pytest.mark.parametrize("name", ROWS_ONLY)
def test_the_targets_row_alone_is_changed_and_has_the_size_asked_for(name: str, boost: float) -> None:
    round_ = played(name, samples.task(), boost=boost)
    place = round_.seen.slots()
    others = [i for i in range(len(round_.sent.items)) if i not in place]
    assert torch.equal(round_.sent.encoder, round_.honest.encoder)
    assert torch.equal(round_.sent.rows[:, others], round_.honest.rows[:, others])
    expected = boost * interaction_size(round_.honest)
    torch.testing.assert_close(round_.sent.rows[:, place[0]].norm(dim=1), expected)


@pytest.mark.parametrize("name", ROWS_ONLY)
def test_every_target_that_the_round_trains_is_pushed(name: str) -> None:
    round_ = played(name, samples.task(), (INSIDE, OUTSIDE, 3))
    changed = (round_.sent.rows != round_.honest.rows).any(dim=2).any(dim=0)
    assert changed.nonzero().flatten().tolist() == sorted(round_.seen.slots())


def test_a_push_takes_one_direction_for_all_or_one_for_each() -> None:
    updates = cohort(samples.task()).train()
    shared = torch.randn(2, samples.DIM, generator=torch.Generator().manual_seed(0))
    found = push(updates, [1, 4], shared, 2.0)
    assert torch.equal(found.rows, push(updates, [1, 4], shared.expand(len(updates), -1, -1), 2.0).rows)
    parallel(found.rows[:, [1, 4]], shared.expand(len(updates), -1, -1).double())
    assert not bool(push(updates, [1], torch.zeros(1, samples.DIM), 2.0).rows[:, 1].any())


@pytest.mark.parametrize("attack", [ARa(), ARa(users=1, spread=1.0), AHum()])
def test_a_ra_and_a_hum_upload_minus_the_gradient_for_their_users(attack: ARa) -> None:
    round_ = play(attack, samples.task())
    row = round_.seen.task.model.table[INSIDE]
    users = attack.synthetic(row, 4, generator(0, "attack")).double()  # the draws of the view
    expected = torch.stack([-gradient(lambda e, u=u: F.softplus(-(u @ e)).mean(), row) for u in users])
    parallel(direction(round_.sent, round_.seen), expected[interaction_size(round_.honest) > 0])


def test_the_users_of_a_hum_like_the_target_less_than_those_of_a_ra() -> None:
    row = samples.task().model.table[INSIDE]
    random, hard = (attack.synthetic(row, 5, generator(1, "u")) @ row for attack in (ARa(), AHum()))
    assert random.shape == (5, 10)
    assert bool((hard < random).all())
    assert bool((AHum(steps=60).synthetic(row, 5, generator(1, "u")) @ row < hard).all())
    assert torch.equal(AHum(steps=0).synthetic(row, 5, generator(1, "u")) @ row, random)


def test_behind_an_inner_product_the_hardest_user_is_the_target_reversed() -> None:
    """Why A-hum promotes nothing here: it shrinks the row."""
    round_ = played("a_hum", samples.task())
    row = F.normalize(round_.seen.task.model.table[INSIDE].double(), dim=0)
    assert bool((direction(round_.sent, round_.seen) @ row < -0.99).all())


@pytest.mark.parametrize("attack", [ARa(), Psmu()])
def test_users_made_up_at_random_push_in_directions_that_cancel(attack: ARa | Psmu) -> None:
    """Why A-ra and PSMU promote little here: the mean over devices keeps hardly any of the push."""
    task = samples.task(samples.model_config(dim=32))
    seen = view(task)
    some = cohort(task).train()
    pushed = attack.poison(some.take(torch.ones(300, dtype=torch.int64)), seen)
    assert float(direction(pushed, seen).mean(0).norm()) < 0.3


def received(round_: int, *moves: tuple[int, float]) -> TrainTask:
    """A task whose table has rows moved by the given distances from a common start."""
    task = samples.task()
    table = task.model.table.clone()
    for item, far in moves:
        table[item, 0] += far
    return replace(task, round=round_, model=replace(task.model, table=table))


def test_mined_items_are_those_whose_rows_moved_most() -> None:
    start = view(received(1), (INSIDE,))
    assert mine(start, 5).tolist() == []
    second = replace(start, task=received(2, (4, 0.3), (9, 0.5), (INSIDE, 9.0), (20, 0.1)))
    assert mine(second, 2).tolist() == [9, 4]  # the target moved most, and is left out
    back = replace(start, task=received(3, (4, 0.3), (20, 0.9)))  # 9 goes back .5, 20 goes on .8
    assert mine(back, 10).tolist() == [9, 20, 4]  # ways 1.0, .9, .3; what stood still is not mined


def test_mining_agrees_with_numpy_over_several_rounds() -> None:
    seen, tables = view(samples.task()), []
    for seed in range(4):
        model = samples.parameters(seen.task.model_config, seed)
        tables.append(model.table.double().numpy())
        found = mine(replace(seen, task=replace(seen.task, model=model)), 7)
    way = sum(np.linalg.norm(b - a, axis=1) for a, b in pairwise(tables))
    way[[0, INSIDE]] = -1
    assert found.tolist() == np.argsort(-way, kind="stable")[:7].tolist()


@pytest.mark.parametrize("name", ["pieck_ipe", "pieck_uea"])
def test_pieck_remembers_a_round_that_lacks_its_target(name: str) -> None:
    round_ = played(name, samples.task(), (OUTSIDE,))
    assert torch.equal(round_.sent.rows, round_.honest.rows)
    table = round_.seen.memory["mined"]["table"]  # type: ignore[index]
    expected = round_.seen.task.model.table
    assert torch.equal(unpack(table, "table", "float32", tuple(expected.shape)), expected)


def test_pieck_is_honest_in_its_first_round() -> None:
    honest = cohort(samples.task()).train()
    assert PieckIpe().poison(honest, view(samples.task())) is honest


def ipe(target: Tensor, popular: Tensor) -> Tensor:
    """The loss of PIECK-IPE, item by item."""
    count = len(popular)
    weights = [2 * (count - k) / (count * (count + 1)) for k in range(count)]
    cos = [torch.dot(p, target) / p.norm() / target.norm() for p in popular]
    plus = [w * c for w, c in zip(weights, cos, strict=True) if c > 0]
    minus = [w * c for w, c in zip(weights, cos, strict=True) if c <= 0]
    return -sum(plus) / max(len(plus), 1) - sum(minus) / max(len(minus), 1)


def test_pieck_ipe_turns_the_row_to_the_mined_ones() -> None:
    round_ = played("pieck_ipe", samples.task(), mined=6)
    table = round_.seen.task.model.table
    before = samples.parameters(round_.seen.task.model_config, seed=1).table
    way = (table - before).norm(dim=1)
    way[[0, INSIDE]] = 0
    popular = table[way.argsort(descending=True)[:6]].double()
    expected = -gradient(lambda e: ipe(e, popular), table[INSIDE])
    found = direction(round_.sent, round_.seen)
    parallel(found, expected.expand_as(found))


def test_pieck_ipe_lengthens_a_row_that_is_turned_already() -> None:
    popular = torch.tensor([[1.0, 0.1], [2.0, 0.0]])
    near = torch.tensor([3.0, 0.1], requires_grad=True)
    (found,) = torch.autograd.grad(PieckIpe().loss(near, popular), near)
    parallel(-found, near.detach().double())


def test_pieck_uea_takes_mined_items_for_users() -> None:
    round_ = played("pieck_uea", samples.task(), mined=5)
    table = round_.seen.task.model.table
    way = (table - samples.parameters(round_.seen.task.model_config, seed=1).table).norm(dim=1)
    way[[0, INSIDE]] = 0
    users = table[way.argsort(descending=True)[:5]].double()
    expected = -gradient(lambda e: F.softplus(-(users @ e)).mean(), table[INSIDE])
    found = direction(round_.sent, round_.seen)
    parallel(found, expected.expand_as(found))


def test_a_fitted_user_prefers_what_it_likes() -> None:
    table = samples.task().model.table
    liked = torch.tensor([[3, 8, 4], [20, 21, 0]])
    users = fit_users(table, liked, 200, 0.05, torch.Generator().manual_seed(0))
    scores = users @ table.T
    for user, items in enumerate(([3, 8, 4], [20, 21])):
        assert float(scores[user, items].mean()) > float(scores[user, 1:].mean()) + 1
    assert torch.equal(users, fit_users(table, liked, 200, 0.05, torch.Generator().manual_seed(0)))


def test_psmu_makes_the_target_beat_its_rivals() -> None:
    task = samples.task()
    attack = Psmu(top=3, alike=4)
    users = torch.randn(3, samples.DIM, generator=torch.Generator().manual_seed(2))
    table, without = task.model.table, torch.zeros(len(task.model.table), dtype=torch.bool)
    without[[0, INSIDE]] = True
    near = set(most_alike(table, INSIDE, without, 4).tolist())
    found = attack.direction(users, INSIDE, view(task))
    for user, mine_ in zip(users, found, strict=True):
        scores = {i: float(user @ table[i]) for i in range(1, len(table)) if i != INSIDE}
        rivals = sorted({*sorted(scores, key=lambda i: -scores[i])[:3], *near})
        u, others = user.double(), table[rivals].double()
        expected = -gradient(lambda e, u=u, o=others: torch.sigmoid(o @ u - e @ u).sum(), table[INSIDE])
        torch.testing.assert_close(mine_.double(), expected, atol=1e-6, rtol=1e-4)


def test_the_most_alike_items_are_never_the_target_nor_padding() -> None:
    table = samples.task().model.table
    without = torch.zeros(len(table), dtype=torch.bool)
    without[[0, 5]] = True
    assert not {0, 5} & set(most_alike(table, 5, without, 100).tolist())
    assert best_items(table[:2], table, without, 100).shape == (2, samples.ITEMS - 1)


def test_poison_frs_takes_the_rows_that_stand_across_the_mean_for_popular() -> None:
    seen = view(samples.task())
    table = seen.task.model.table.double().numpy()
    product = table @ table[1:].mean(0)
    order = [i for i in np.argsort(product, kind="stable") if i not in (0, INSIDE)]
    assert PoisonFrs().best(seen).tolist() == order[:5]
    round_ = play(PoisonFrs(scale=7.0), seen.task)
    goal = 7.0 * torch.from_numpy(table[order[:5]].mean(0)) - seen.task.model.table[INSIDE].double()
    found = direction(round_.sent, round_.seen)
    parallel(found, goal.expand_as(found))


@pytest.mark.parametrize("largest", [1000.0, 70.0])
def test_poison_frs_freezes_its_goal_and_doubles_it_until_the_row_comes_nearer_twice(largest: float) -> None:
    attack, seen = PoisonFrs(largest=largest), view(samples.task())
    honest, scales = cohort(seen.task).train(), []
    goal = seen.task.model.table[attack.best(seen)].mean(0)
    for round_, at in enumerate((0.0, 0.0, -1.0, 1.0, 1.5, 1.6, 0.0)):  # where the row is on its way
        first = samples.parameters(seen.task.model_config, seed=1 if scales else 0)
        first.table[INSIDE] = at * goal
        attack.poison(honest, replace(seen, task=replace(seen.task, round=round_, model=first)))
        scales.append(seen.memory[f"{MEMORY}.{INSIDE}"]["scale"])  # type: ignore[index]
    assert scales == [10.0, 20.0, 40.0, *[min(80.0, largest)] * 4]
    frozen = unpack(seen.memory[MEMORY]["mean"], "mean", "float32", tuple(goal.shape))  # type: ignore[index]
    np.testing.assert_allclose(frozen, goal.numpy(), rtol=1e-5)


def test_poison_frs_has_a_scale_for_each_target_and_moves_it_once_a_round() -> None:
    """Rounds of a slice with one target, the other, or both, each asked twice; no row moves."""
    other, first = 12, samples.task()
    seen = view(first, (INSIDE, other))
    goal = first.model.table[PoisonFrs().best(seen)].mean(0)
    first.model.table[other] = -40.0 * goal  # far further from every goal: no sign that INSIDE came nearer
    goal = first.model.table[PoisonFrs().best(seen)].mean(0)
    found = []
    for round_, without in enumerate((other, INSIDE, 1, other, INSIDE)):
        kept = first.items != without
        task = replace(first, round=round_, items=first.items[kept], log_q=first.log_q[kept])
        again = replace(seen, task=task, cohort=cohort(task))
        honest = again.cohort.train()
        for sent in (PoisonFrs().poison(honest, again), PoisonFrs().poison(honest, again)):
            scales = {item: seen.memory[f"{MEMORY}.{item}"]["scale"] for item in again.aims()}  # type: ignore[index]
            for item, scale in scales.items():
                towards = direction(sent, again, item)
                parallel(towards, (scale * goal - first.model.table[item]).double().expand_as(towards))  # type: ignore[operator]
        found.append(scales)
    assert found == [
        {INSIDE: 10.0},
        {other: 10.0},
        {INSIDE: 20.0, other: 20.0},
        {INSIDE: 40.0},
        {other: 40.0},
    ]


def test_popularity_classes_are_the_top_tenth_the_next_and_the_rest() -> None:
    counts = torch.tensor([0, *[9, 8, 8, 7, 6, 5, 4, 3, 2, 1], *[0] * 10])  # 20 items
    found = popularity_classes(counts).tolist()
    assert found[1:] == [HIGH] * 2 + [MIDDLE] * 7 + [LOW] * 11
    assert set(popularity_classes(torch.tensor([0, 3, 0, 0])).tolist()) <= {LOW, MIDDLE}


def test_the_classifier_of_pip_attack_learns_who_is_popular() -> None:
    seen = view(samples.task())
    sequences = [np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, *range(4, 15)], np.int32)]
    table = samples.parameters(seen.task.model_config).table
    table[1:4] += 2.0
    table[4:15] -= 2.0
    model = replace(seen.task.model, table=table)
    known = replace(
        seen, task=replace(seen.task, model=model), cohort=replace(seen.cohort, sequences=sequences)
    )
    found = logits(PipAttack(steps=300).classifier(known), table).argmax(1)
    assert found[1:4].tolist() == [HIGH] * 3
    middle = [i for i in range(4, 15) if i != INSIDE]
    assert float((found[middle] == MIDDLE).float().mean()) > 0.8


@pytest.mark.parametrize("steps", [1, 3])
def test_pip_attack_is_the_explicit_push_and_the_way_to_the_popular_class(steps: int) -> None:
    task = samples.task(local_steps=steps)
    pushed = direction(played("label_to_target", task).sent, view(task))
    without = play(PipAttack(alpha=0), task)
    parallel(direction(without.sent, without.seen), pushed)
    seen = view(task)
    classifier = PipAttack().classifier(seen)
    weights = [(matrix.double(), bias.double()) for matrix, bias in classifier]
    row = task.model.table[INSIDE]
    towards = -gradient(lambda e: F.cross_entropy(logits(weights, e[None]), torch.tensor([HIGH])), row)
    with_ = play(PipAttack(alpha=1e6), task)
    found = direction(with_.sent, with_.seen)
    parallel(found, towards.expand_as(found), 1e-3)
    middle = play(PipAttack(alpha=60), task)
    slot = middle.seen.slots()[0]
    raw = played("label_to_target", task).sent.rows[:, slot].double()
    expected = raw + 60 * steps * task.train_config.local_lr / samples.MAX_LEN * towards
    parallel(direction(middle.sent, middle.seen), expected[interaction_size(middle.honest) > 0])


def literal(table: Tensor, users: Tensor, liked: Tensor, targets: tuple[int, ...], top: int) -> Tensor:
    """The loss of FedRecAttack, user by user."""
    loss = table.new_zeros(())
    for user, items in zip(users, liked.tolist(), strict=True):
        scores = {i: float(table[i].detach() @ user) for i in range(1, len(table)) if i not in targets}
        last = sorted(scores, key=lambda i: -scores[i])[:top][-1]
        for target in targets:
            if target not in items:
                x = user @ (table[last] - table[target])
                loss = loss + (x if x >= 0 else x.exp() - 1)
    return loss


@pytest.mark.parametrize("targets", [(INSIDE,), (INSIDE, 3)])
def test_fed_rec_attack_descends_its_loss(targets: tuple[int, ...]) -> None:
    seen = view(samples.task(), targets)
    users = 2 * torch.randn(6, samples.DIM, generator=torch.Generator().manual_seed(4))
    liked = torch.tensor([[1, 2], [3, 0], [INSIDE, 4], [5, 6], [7, 8], [9, 10]])
    found = FedRecAttack(top=4).gradient(users, liked, seen)
    table = seen.task.model.table
    expected = gradient(lambda t: literal(t, users.double(), liked, targets, 4), table)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 60])
def test_the_devices_of_fed_rec_attack_share_out_one_gradient(rows: int) -> None:
    task = samples.task()
    seen, honest = view(task), cohort(task).train()
    whole = torch.zeros_like(honest.rows[0])
    slot = seen.slots()[0]
    whole[slot], whole[0], whole[2] = 1.0, 0.5, -0.2
    attack = FedRecAttack(rows=rows)
    sent = attack.share_out(whole, honest, [slot], torch.Generator().manual_seed(0))
    bound = attack.boost * interaction_size(honest)
    changed = (sent.rows != honest.rows).any(dim=2)
    assert int(changed.sum(1).max()) <= rows
    assert bool(changed[bound > 0][:, slot].all())
    assert not bool(changed[bound == 0].any())
    assert bool((torch.where(changed, sent.rows.norm(dim=2), 0.0) <= bound[:, None] * 1.0001).all())
    total = torch.where(changed[:, :, None], sent.rows, 0.0).sum(0)
    factor = float(bound.sum() / whole[slot].norm())
    torch.testing.assert_close(total[slot], factor * whole[slot])  # used up by the last device
    assert bool((total[[0, 2]].abs() <= factor * whole[[0, 2]].abs() + 1e-5).all())


def test_public_interactions_are_a_share_of_those_of_own_devices() -> None:
    seen = view(samples.task())
    long = [samples.history(400, i) for i in range(20)]
    many = replace(seen, cohort=replace(seen.cohort, numbers=range(20), sequences=long))
    found = FedRecAttack(xi=0.2).public(many)
    assert float((found > 0).sum()) == pytest.approx(0.2 * 8000, rel=0.1)
    whole = FedRecAttack(xi=1.0).public(seen)
    kept = [[i for i in row if i] for row in whole.tolist()]
    assert kept == [s.tolist() for s in seen.cohort.sequences]
    nobody = replace(seen, cohort=replace(seen.cohort, sequences=[np.empty(0, np.int32)] * 4))
    honest = cohort(seen.task).train()
    assert FedRecAttack().poison(honest, nobody) is honest
