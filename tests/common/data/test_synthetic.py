"""The made-up log is seeded, has the size asked for, and an order worth learning."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from common.data import DATASETS, content_digest, load
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


def test_users_with_tastes_keep_to_two_kinds_of_items() -> None:
    """Kinds are told apart by who holds what with what: more often with its own kind than with another."""

    def clear(recipe: str) -> float:
        data = load("synthetic", f"devices=400,items=60,order=0,length=10,{recipe}")
        held = np.zeros((len(data), data.num_items))
        for row, one in enumerate(data.sequences):
            held[row, one - 1] = 1
        return float(np.linalg.eigvalsh(np.corrcoef(held.T))[-1])

    assert clear("tastes=4") > 2 * clear("tastes=0")
    assert clear("tastes=1") < 1.5 * clear("tastes=0")  # all users like the same


@pytest.mark.parametrize(
    "text",
    [
        "devices=0",
        "users=3",
        "devices",
        "items=10",
        "length=80",
        "order=1.5",
        "seed=x",
        "order=nan",
        "tastes=-1",
        "tastes=61",
    ],
)
def test_bad_recipe_lists_the_keys(text: str) -> None:
    with pytest.raises(ConfigError, match="devices, items, length, order, seed, tastes"):
        load("synthetic", text)


def test_needs_no_cache() -> None:
    assert len(DATASETS["synthetic"](None)) == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "4742664092c30e7c2f564e13897bf0f8"),
        ("devices=12,items=30,length=8,seed=3", "055b6c070409118235743a05b7d7333e"),
    ],
)
def test_a_recipe_gives_the_log_that_it_always_gave(path: str, expected: str) -> None:
    data, found = load("synthetic", path), hashlib.sha256()
    assert data.times is not None
    found.update(data.sequences.flat().astype("<i4").tobytes())
    found.update(data.times.flat().astype("<f8").tobytes())
    assert found.hexdigest()[:32] == expected


LARGE = "devices=3000,items=500,interactions=60000"


def test_a_large_log_has_the_size_asked_for() -> None:
    data = load("synthetic", LARGE)
    lengths = data.sequences.lengths
    assert (len(data), data.num_items, int(lengths.sum())) == (3000, 500, 60_000)
    assert lengths.min() >= 3
    assert lengths.max() > 4 * np.median(lengths)
    assert set(range(1, 501)) >= set(data.sequences.values.tolist()) > set()
    assert len(np.unique(data.sequences.values)) > 450
    assert data.item_ids[499] == "500"
    assert data.user_ids == [str(n) for n in data.devices]
    assert data.times is not None
    assert all((np.diff(one) > 0).all() for one in data.times)
    assert data.times.values.min() > 0
    assert data.times.values.max() < 366 * 86400 + 3600 * lengths.max()


def test_a_large_log_is_seeded_and_held_once() -> None:
    first, again, other = (load("synthetic", f"{LARGE},seed={seed}") for seed in (1, 1, 2))
    assert first is again
    assert not np.array_equal(first.sequences.values, other.sequences.values)
    kept = content_digest(first)
    del first, again
    assert content_digest(load("synthetic", f"{LARGE},seed=1")) == kept


def test_a_large_log_has_a_tail_and_an_order() -> None:
    flat, steep = (load("synthetic", f"{LARGE},order=0,tail={tail}") for tail in (0, 1.5))
    shares = [np.sort(np.bincount(data.sequences.values))[-50:].sum() / 60_000 for data in (flat, steep)]
    assert shares[0] < 0.2
    assert shares[1] > 0.7
    for order, least, most in ((0.0, 0.0, 0.25), (0.8, 0.75, 0.95)):
        data = load("synthetic", f"{LARGE},order={order},tail=0")
        pairs = Counter(p for one in data.sequences for p in pairwise(one.tolist()))
        best: dict[int, list[int]] = {}
        for (item, _), count in pairs.items():
            best.setdefault(item, []).append(count)
        followed = sum(sum(sorted(counts)[-3:]) for counts in best.values()) / pairs.total()
        assert least <= followed <= most


@pytest.mark.parametrize(
    "text", ["devices=10,interactions=29", "interactions=1000,length=3", "interactions=x", "interactions="]
)
def test_bad_recipe_of_a_large_log_lists_the_keys(text: str) -> None:
    with pytest.raises(ConfigError, match="devices, items, interactions, tail, spread, order, seed"):
        load("synthetic", text)
