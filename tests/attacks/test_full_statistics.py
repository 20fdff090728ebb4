"""What attacks do with the honest updates of a round, against slow oracles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from attacks import build_attack
from attacks.alie import z_max
from attacks.estimates import vectors
from common.updates import DeviceUpdates, onto
from server.aggregators.krum import scores
from tests.attacks.samples import view
from tests.attacks.vectors import D, K, P, gaps, honest, one, table
from tests.client import samples

OWN, OTHERS = honest(3, seed=1), honest(9, seed=2, idle=(4,))


def sent(name: str, **params: object) -> DeviceUpdates:
    seen = replace(view(samples.task()), honest=OTHERS)
    return build_attack(name, params).poison(OWN, seen)


def test_alie_counts_the_devices_and_shifts_their_mean() -> None:
    known = table(OTHERS)
    z = z_max(12, 3)
    expected = known.mean(axis=0) - z * known.std(axis=0)
    np.testing.assert_allclose(one(sent("alie")), expected, rtol=1e-4, atol=1e-5)


def test_min_max_uses_up_the_bound_of_the_honest_devices() -> None:
    known = table(OTHERS)
    found = one(sent("min_max"))
    assert 1 - 1e-3 < ((known - found) ** 2).sum(axis=1).max() / gaps(known).max() < 1 + 1e-5
    found = one(sent("min_sum"))
    assert 1 - 1e-3 < ((known - found) ** 2).sum() / gaps(known).sum(axis=1).max() < 1 + 1e-5


def test_fang_is_picked_by_krum_among_the_true_devices() -> None:
    known, poison = table(OTHERS), one(sent("fang_krum"))
    assert len(set(np.abs(poison).round(9)) - {0.0}) == 1
    np.testing.assert_array_equal(np.sign(poison), -np.sign(known.mean(axis=0)))
    every = np.concatenate([known, np.repeat(poison[None], 3, axis=0)])
    assert int(scores(torch.from_numpy(gaps(every)), len(every) - 3 - 2).argmin()) >= len(known)


def test_fang_on_the_trimmed_mean_lies_just_outside_what_was_sent() -> None:
    known = table(OTHERS)
    for vector in vectors(sent("fang_trmean")).double().numpy():
        for j, value in enumerate(vector):
            end = known[:, j].min() if known[:, j].mean() > 0 else known[:, j].max()
            outwards = 2 * end if (end < 0) == (known[:, j].mean() > 0) else end / 2
            low, high = sorted((end, outwards))
            assert low - 1e-5 <= value <= high + 1e-5


def test_mimic_copies_one_of_the_honest_devices() -> None:
    found = one(sent("mimic"))
    assert min(np.abs(table(OTHERS) - found).max(axis=1)) == 0
    assert min(np.abs(table(OWN) - found).max(axis=1)) > 0


def test_spattack_o_leaves_nothing_of_the_honest_rows_in_a_sum() -> None:
    rows = sent("spattack", mode="o").rows
    torch.testing.assert_close(rows.sum(0), -OTHERS.rows.sum(0), rtol=1e-4, atol=1e-5)


def test_rows_are_found_by_item() -> None:
    items = torch.tensor([2, 3, 7, 31], dtype=torch.int32)
    touched = torch.rand(9, K, generator=torch.Generator().manual_seed(0)) < 0.5
    some = replace(OTHERS, rows=OTHERS.rows * touched[:, :, None], touched=touched)
    for updates in (OTHERS, some):
        found = onto(updates, items)
        assert found.touched is not None
        assert found.rows.shape == (9, 4, D)
        for place, item in enumerate(items.tolist()):
            there = [i for i, known in enumerate(samples.SLICE) if known == item]
            for u in range(9):
                expected = updates.rows[u, there[0]] if there else torch.zeros(D)
                assert torch.equal(found.rows[u, place], expected)
                has = bool(there) and (updates.touched is None or bool(updates.touched[u, there[0]]))
                assert bool(found.touched[u, place]) == has
    assert onto(OTHERS, OTHERS.items) is OTHERS
    assert vectors(OTHERS).shape[1] == P + K * D
