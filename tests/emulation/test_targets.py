"""Which items an attack promotes."""

from __future__ import annotations

import numpy as np
import pytest

from common.data import Dataset, load, split
from common.errors import ConfigError
from emulation.targets import with_targets
from tests.server.federation import LOG, config

ATTACKED = ("attack.name=label_to_target", "attack.share=0.25", "eval.targets=[]")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load("synthetic", LOG)


def counts(dataset: Dataset) -> np.ndarray:
    train = np.concatenate([split(one).train for one in dataset.sequences])
    return np.bincount(train, minlength=dataset.num_items + 1)[1:]


@pytest.mark.parametrize("kind", ["cold", "medium", "random"])
def test_targets_are_picked_by_popularity(dataset: Dataset, kind: str) -> None:
    order = [f"#{n}" for n in np.argsort(counts(dataset), kind="stable") + 1]
    pools = {"cold": set(order[:3]), "medium": set(order[13:17]), "random": set(order)}
    picked = set()
    for seed in range(12):
        found = with_targets(config(*ATTACKED, f"attack.targets={kind}", f"seed={seed}"), dataset)
        assert found.attack.targets == found.eval.targets
        picked |= set(found.attack.targets)
    assert picked <= pools[kind]
    assert len(picked) > 1


@pytest.mark.parametrize("kind", ["cold", "medium", "random"])
def test_several_targets_begin_with_the_one_that_is_picked_alone(dataset: Dataset, kind: str) -> None:
    for seed in range(6):
        settings = config(*ATTACKED, f"attack.targets={kind}", f"seed={seed}")
        (alone,) = with_targets(settings, dataset).attack.targets
        many = config(*ATTACKED, f"attack.targets={kind}", f"seed={seed}", "attack.target_count=3")
        found = with_targets(many, dataset)
        assert found.attack.targets[0] == alone
        assert len(set(found.attack.targets)) == 3
        assert found.eval.targets == found.attack.targets
        assert with_targets(found, dataset) == found


def test_more_targets_than_there_are_such_items_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"attack\.target_count: 4; there are 3 cold items"):
        with_targets(config(*ATTACKED, "attack.target_count=4"), dataset)


def test_a_group_is_of_an_item_of_the_catalogue(dataset: Dataset) -> None:
    last = dataset.num_items
    assert with_targets(config(f"eval.group={last}"), dataset).eval.group == f"#{last}"
    with pytest.raises(ConfigError, match=rf"eval\.group: the log has no item '{last + 1}'"):
        with_targets(config(f"eval.group={last + 1}"), dataset)


def test_own_targets_are_kept(dataset: Dataset) -> None:
    found = with_targets(config("attack.name=nan", "attack.targets=[4, 2]", "eval.targets=[9]"), dataset)
    assert found.attack.targets == ("#4", "#2")
    assert found.eval.targets == ("#9",)
