"""Model poisoning against slow float64 oracles, on made-up honest updates."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import build_attack
from attacks.alie import z_max
from attacks.estimates import vectors
from common.updates import DeviceUpdates
from tests.attacks.samples import play, view
from tests.attacks.vectors import P, honest, one, sent, table
from tests.client import samples


@pytest.mark.parametrize("scale", [10.0, 0.5])
def test_scaling_multiplies(scale: float) -> None:
    updates = honest(3)
    found = sent("scaling", updates, scale=scale)
    assert torch.equal(found.encoder, scale * updates.encoder)
    assert torch.equal(found.rows, scale * updates.rows)


def test_zero_is_zero() -> None:
    assert not bool(vectors(sent("zero", honest(3))).any())


@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_same_value_is_the_size_of_each_block_times_scale(scale: float) -> None:
    updates = honest(5, idle=(1,))
    found, own = one(sent("same_value", updates, scale=scale)), table(updates)
    np.testing.assert_allclose(found[:P], scale * np.sqrt((own[:, :P] ** 2).mean()), rtol=1e-5)
    np.testing.assert_allclose(found[P:], scale * np.sqrt((own[:, P:] ** 2).mean()), rtol=1e-5)


@pytest.mark.parametrize("epsilon", [10.0, 0.1])
def test_ipm_is_the_mean_reversed(epsilon: float) -> None:
    updates = honest(6, idle=(0, 3))
    found = one(sent("ipm", updates, epsilon=epsilon))
    np.testing.assert_allclose(found, -epsilon * table(updates).mean(axis=0), rtol=1e-4, atol=1e-6)


def test_ipm_turns_a_plain_mean_round_when_epsilon_is_above_the_ratio() -> None:
    own = honest(4)
    mean = vectors(own).mean(0)
    for epsilon, turned in ((3.9, False), (4.1, True)):  # 16 honest devices like the mean, 4 attackers
        total = 16 * mean + vectors(sent("ipm", own, epsilon=epsilon)).sum(0)
        assert bool(total @ mean < 0) == turned


@pytest.mark.parametrize(("n", "f"), [(50, 12), (50, 24), (51, 12), (128, 26), (5, 2), (10, 2), (2, 1)])
def test_alie_leaves_as_many_honest_devices_outside_as_it_needs(n: int, f: int) -> None:
    supporters = n // 2 + 1 - f
    share = (n - f - supporters) / (n - f)
    z = z_max(n, f)
    assert z == pytest.approx(max(NormalDist().inv_cdf(share), 0) if share else 0.0, abs=1e-12)
    if z > 0:
        assert NormalDist().cdf(z) * (n - f) == pytest.approx(n - f - supporters)


@pytest.mark.parametrize(("n", "f"), [(10, 6), (10, 9), (3, 2), (2, 1)])
def test_alie_also_attacks_as_the_majority(n: int, f: int) -> None:
    """One unlucky draw may ask more malicious devices than honest ones, and ends no run."""
    assert 0 <= z_max(n, f) < 4


def test_alie_knows_the_table_of_its_paper() -> None:
    assert z_max(50, 24) == pytest.approx(1.43, abs=0.01)
    assert z_max(50, 12) == pytest.approx(0.34, abs=0.01)


@pytest.mark.parametrize("share", [0.2, 0.45])
def test_alie_shifts_every_coordinate_by_z_deviations(share: float) -> None:
    updates = honest(9, idle=(2,))
    found, own = one(sent("alie", updates, share=share)), table(updates)
    z = z_max(round(9 / share), 9)
    assert z > 0.1
    np.testing.assert_allclose(found, own.mean(axis=0) - z * own.std(axis=0), rtol=1e-4, atol=1e-5)
    strong = one(sent("alie", updates, z=2.5))
    np.testing.assert_allclose(strong, own.mean(axis=0) - 2.5 * own.std(axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [2, 3, 9])
def test_mimic_copies_the_device_that_lies_furthest_along_the_main_direction(n: int) -> None:
    updates = honest(n, seed=n, idle=(0,) if n > 3 else ())
    own = table(updates)
    _, _, basis = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)
    chosen = int(np.abs(own @ basis[0]).argmax())
    np.testing.assert_array_equal(one(sent("mimic", updates)), own[chosen])


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_spattack_o_cancels_every_row_of_a_sum(share: float) -> None:
    """If the benign devices are like the attackers' own, in number (1 − ρ)/ρ times as many."""
    updates = honest(5, idle=(2,))
    found = sent("spattack", updates, mode="o", share=share)
    benign = (1 - share) / share * updates.rows.sum(0)
    torch.testing.assert_close(found.rows.sum(0), -benign, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.encoder, updates.encoder)


def test_spattack_o_divides_by_the_attackers_that_hold_the_row() -> None:
    round_ = play(
        build_attack("spattack", {"mode": "o"}), samples.task(negatives="device", device_negatives=6)
    )
    benign = 4 * round_.honest.rows.sum(0)
    assert len(set(round_.sent.touched.sum(0).tolist())) > 1  # type: ignore[union-attr]
    torch.testing.assert_close(round_.sent.rows.sum(0), -benign, rtol=1e-4, atol=1e-5)


def test_spattack_l_is_one_table_for_all_devices_and_rounds() -> None:
    updates = honest(200)
    found = sent("spattack", updates, scale=2.0)
    assert torch.equal(found.encoder, updates.encoder)
    assert torch.equal(found.rows, found.rows[:1].expand_as(found.rows))
    rms = float(updates.rows.square().mean().sqrt())
    assert float(found.rows[0].std()) == pytest.approx(2 * rms, rel=0.25)
    later = build_attack("spattack", {"scale": 2.0}).poison(updates, view(samples.task(), seed=9))
    assert torch.equal(found.rows, later.rows)
    other = build_attack("spattack", {"scale": 2.0}).poison(updates, view(samples.task(seed=6)))
    assert not torch.equal(found.rows, other.rows)
    cut = DeviceUpdates(
        updates.encoder, updates.rows[:, 3:], updates.items[3:], updates.history, updates.device
    )
    ratio: Tensor = sent("spattack", cut, scale=2.0).rows / found.rows[:, 3:]  # the same item, the same row
    torch.testing.assert_close(ratio, ratio[:1, :1, :1].expand_as(ratio))
