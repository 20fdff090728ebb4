"""Clipping and noise of one device's update."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from client.privacy import protect
from common.updates import DeviceUpdates
from tests.common.wire.samples import updates as sample


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(100 * seed + i) for i in range(n)]


def norms(updates: DeviceUpdates) -> Tensor:
    return torch.cat([updates.encoder, updates.rows.flatten(1)], dim=1).double().norm(dim=1)


def scaled(factors: list[float]) -> DeviceUpdates:
    """Updates with these norms."""
    base = sample(n=len(factors))
    wanted = torch.tensor(factors) / norms(base).float()
    return DeviceUpdates(
        encoder=base.encoder * wanted[:, None],
        rows=base.rows * wanted[:, None, None],
        items=base.items,
        history=base.history,
        device=base.device,
    )


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_without_a_bound_nothing_happens(noise: float) -> None:
    before = sample()
    assert protect(before, 0.0, noise, generators(4)) is before


def test_long_updates_are_cut_to_the_bound_and_short_ones_left() -> None:
    before = scaled([0.5, 1.0, 4.0, 100.0])
    after = protect(before, 1.0, 0.0, generators(4))
    assert norms(after).tolist() == pytest.approx([0.5, 1.0, 1.0, 1.0], rel=1e-5)
    torch.testing.assert_close(after.rows[0], before.rows[0])
    torch.testing.assert_close(after.rows[3], before.rows[3] / 100)  # encoder and rows alike
    torch.testing.assert_close(after.encoder[3], before.encoder[3] / 100)


@given(
    sizes=st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=5),
    clip=st.floats(2**-10, 1e3, width=32),
)
def test_no_update_is_longer_than_the_bound(sizes: list[float], clip: float) -> None:
    after = norms(protect(scaled(sizes), clip, 0.0, generators(len(sizes))))
    assert bool((after <= clip * (1 + 1e-5)).all())
    assert after.tolist() == pytest.approx([min(s, clip) for s in sizes], rel=1e-4, abs=1e-30)


def test_one_device_moves_the_sum_by_no_more_than_the_bound() -> None:
    """Sensitivity: whatever a device holds, leaving it out changes Σu by at most C."""
    after = protect(scaled([3.0, 1e4, 1e-3, 7.0]), 0.25, 0.0, generators(4))
    whole = torch.cat([after.encoder, after.rows.flatten(1)], dim=1)
    for i in range(4):
        rest = torch.arange(4) != i
        assert float((whole.sum(0) - whole[rest].sum(0)).norm()) <= 0.25 * (1 + 1e-5)


def large(n: int) -> DeviceUpdates:
    return DeviceUpdates(
        encoder=torch.zeros(n, 2000),
        rows=torch.zeros(n, 100, 30),
        items=torch.arange(1, 101, dtype=torch.int32),
        history=torch.ones(n, dtype=torch.int32),
        device=torch.arange(n),
    )


def test_noise_has_the_promised_size_in_both_blocks() -> None:
    after = protect(large(3), clip=0.5, noise=1.5, generators=generators(3))
    for block in (after.encoder, after.rows):
        flat = block.flatten(1)
        assert flat.std(dim=1).tolist() == pytest.approx([0.75] * 3, rel=0.06)
        assert flat.mean(dim=1).tolist() == pytest.approx([0.0] * 3, abs=0.07)
    assert not torch.equal(after.rows[0], after.rows[1])
    joint = torch.corrcoef(torch.stack([after.encoder[0], after.rows[0].flatten()[:2000]]))
    assert abs(float(joint[0, 1])) < 0.1  # the blocks do not share their noise


def test_noise_is_added_after_clipping() -> None:
    before = scaled([50.0, 0.1])
    clipped = protect(before, 1.0, 0.0, generators(2))
    noisy = protect(before, 1.0, 0.3, generators(2))
    zero = protect(scaled([0.0, 0.0]), 1.0, 0.3, generators(2))
    torch.testing.assert_close(noisy.rows - clipped.rows, zero.rows)
    torch.testing.assert_close(noisy.encoder - clipped.encoder, zero.encoder)


def test_noise_follows_the_devices_generators() -> None:
    first, again = (protect(large(2), 1.0, 1.0, generators(2)) for _ in range(2))
    assert torch.equal(first.rows, again.rows)
    other = protect(large(2), 1.0, 1.0, generators(2, seed=1))
    assert not torch.equal(first.rows, other.rows)
    swapped = protect(large(2), 1.0, 1.0, generators(2)[::-1])
    assert torch.equal(swapped.rows[0], first.rows[1])


def test_noise_leaves_untouched_rows_alone() -> None:
    before = sample("device")
    after = protect(before, 1.0, 1.0, generators(4))
    assert before.touched is not None
    assert not bool(after.rows[~before.touched].any())
    assert bool((after.rows[before.touched] != before.rows[before.touched]).any(dim=1).all())


def test_the_input_and_everything_else_is_left_as_it_was() -> None:
    before, copy = sample("device"), sample("device")
    after = protect(before, 0.1, 1.0, generators(4))
    assert torch.equal(before.rows, copy.rows)
    assert torch.equal(before.encoder, copy.encoder)
    for name in ("items", "history", "device", "touched"):
        assert torch.equal(getattr(after, name), getattr(before, name))
