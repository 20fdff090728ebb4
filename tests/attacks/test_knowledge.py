"""An attack that says it needs no data of its own does not look at it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from flwr.app import RecordDict
from torch import Tensor
from torch.nn import functional as F

from attacks import ATTACKS, View, build_attack
from client.batch import make_batch
from common.seeding import generator
from common.tasks import TrainTask
from tests.attacks.samples import INSIDE, LENGTHS, REMEMBERING
from tests.client import samples

BLIND = [n for n, rule in ATTACKS.items() if rule.goal == "targeted" and "own data" not in rule.knowledge]
PUSHING = [name for name in BLIND if ATTACKS[name].kind == "model"]
SHILLING = [name for name in BLIND if ATTACKS[name].kind == "data"]


def view(task: TrainTask, histories: int) -> View:
    """A node whose devices have the histories of this seed."""
    cohort = replace(samples.cohort(task, LENGTHS, histories), wanted=(INSIDE,))
    return View(task, (INSIDE,), cohort, generator(0, "attack"), RecordDict())


def pushed(name: str, histories: int) -> Tensor:
    """Directions [n, d] in which the devices push the target's row; 0 for one with nothing to predict."""
    task, attack = samples.task(), build_attack(name, {})
    seen = view(task, histories)
    if name in REMEMBERING:
        before = replace(task, round=task.round - 1, model=samples.parameters(task.model_config, seed=1))
        attack.poison(view(before, histories).cohort.train(), replace(seen, task=before))
    (place,) = seen.slots()
    return F.normalize(attack.poison(seen.cohort.train(), seen).rows[:, place], dim=1)


def test_these_need_no_data() -> None:
    assert set(PUSHING) == {"a_ra", "a_hum", "psmu", "pieck_ipe", "pieck_uea", "poison_frs"}
    assert set(SHILLING) == {"random_shilling", "segment"}


@pytest.mark.parametrize("name", PUSHING)
def test_where_it_pushes_does_not_depend_on_own_histories(name: str) -> None:
    one, other = pushed(name, 0), pushed(name, 7)
    both = one.any(dim=1) & other.any(dim=1)
    assert int(both.sum()) > 1
    torch.testing.assert_close(one[both], other[both])


@pytest.mark.parametrize("name", ["explicit_boost", "pip_attack", "fed_rec_attack", "dv_fsr"])
def test_that_of_others_does(name: str) -> None:
    assert not torch.allclose(pushed(name, 0), pushed(name, 7), atol=1e-3)


@pytest.mark.parametrize("name", SHILLING)
def test_a_made_up_history_does_not_depend_on_own_ones(name: str) -> None:
    task = samples.task()
    batch = make_batch(view(task, 0).cohort.windows, samples.MAX_LEN)
    one, other = (build_attack(name, {}).relabel(batch, view(task, seed)) for seed in (0, 7))
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.targets, other.targets)
    assert not torch.equal(one.inputs, batch.inputs)
    popular = [build_attack("popular_shilling", {}).relabel(batch, view(task, seed)) for seed in (0, 7)]
    assert not torch.equal(popular[0].inputs, popular[1].inputs)  # that one counts on own devices
