"""The made-up log is seeded, has the size asked for, and an order worth learning."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from common.data import DATASETS, load
from common.errors import ConfigError


def test_defaults() -> None:
    data = load("synthetic")
    assert (len(data), data.num_items) == (200, 120)
    assert data.item_ids == tuple(str(i) for i in range(1, 121))
    assert data.devices.tolist() == list(range(1, 201))
    assert 18 < np.mean([len(one) for one in data.sequences]) < 22
    assert all(len(one) >= 3 and len(set(one.tolist())) == len(one) for one in data.sequences)
    assert data.times is not None
    assert all((np.diff(one) > 0).all() for one in data.times)


def test_same_seed_same_log() -> None:
    first, again, other = (load("synthetic", f"devices=20,seed={seed}") for seed in (1, 1, 2))
    assert all(map(np.array_equal, first.sequences, again.sequences))
    assert not all(map(np.array_equal, first.sequences, other.sequences))


def test_recipe() -> None:
    data = load("synthetic", "devices=7, items=40,length=10")
    assert (len(data), data.num_items) == (7, 40)


@pytest.mark.parametrize(("order", "least", "most"), [(1.0, 0.8, 1.0), (0.0, 0.0, 0.25)])
def test_order_sets_how_often_the_chain_is_followed(order: float, least: float, most: float) -> None:
    data = load("synthetic", f"devices=300,order={order}")
    pairs = [pair for one in data.sequences for pair in zip(one[:-1].tolist(), one[1:].tolist(), strict=True)]
    after: dict[int, Counter[int]] = {}
    for item, following in pairs:
        after.setdefault(item, Counter())[following] += 1
    covered = sum(count for counter in after.values() for _, count in counter.most_common(3))
    assert least <= covered / len(pairs) <= most


@pytest.mark.parametrize(
    "text", ["devices=0", "users=3", "devices", "items=10", "length=80", "order=1.5", "seed=x", "order=nan"]
)
def test_bad_recipe_lists_the_keys(text: str) -> None:
    with pytest.raises(ConfigError, match="devices, items, length, order, seed"):
        load("synthetic", text)


def test_needs_no_cache() -> None:
    assert len(DATASETS["synthetic"](None)) == 200
