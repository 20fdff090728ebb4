"""Decoys, clip, noise and coarse values of one device's update."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from client import privacy
from client.privacy import clipped, draws, quantised, with_decoys, with_noise
from common.config import ClientConfig
from common.updates import DeviceUpdates, interaction_sizes
from server.round.faults import thin
from tests.common.wire.samples import updates as sample


def keys(n: int, seed: int = 0) -> list[bytes]:
    return [bytes([seed, i]) * 16 for i in range(n)]


def protect(before: DeviceUpdates, seed: int = 0, **options: Any) -> DeviceUpdates:
    n = len(before)
    return privacy.protect(before, ClientConfig.model_validate(options), keys(n, seed), keys(n, 9))


def norms(updates: DeviceUpdates) -> Tensor:
    return torch.cat([updates.encoder, updates.rows.flatten(1)], dim=1).double().norm(dim=1)


def scaled(factors: list[float]) -> DeviceUpdates:
    """Updates with these norms."""
    base = sample(n=len(factors))
    wanted = torch.tensor(factors) / norms(base).float()
    return replace(base, encoder=base.encoder * wanted[:, None], rows=base.rows * wanted[:, None, None])


def test_without_an_option_nothing_happens() -> None:
    before = sample()
    assert protect(before) is before
    assert protect(before, quantise="none", top_k=1) is before


def test_long_updates_are_cut_to_the_bound_and_short_ones_left() -> None:
    before = scaled([0.5, 1.0, 4.0, 100.0])
    after = protect(before, clip=1.0)
    assert norms(after).tolist() == pytest.approx([0.5, 1.0, 1.0, 1.0], rel=1e-5)
    torch.testing.assert_close(after.rows[0], before.rows[0])
    torch.testing.assert_close(after.rows[3], before.rows[3] / 100)  # encoder and rows alike
    torch.testing.assert_close(after.encoder[3], before.encoder[3] / 100)


@given(
    sizes=st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=5),
    clip=st.floats(2**-10, 1e3, width=32),
)
def test_no_update_is_longer_than_the_bound(sizes: list[float], clip: float) -> None:
    after = norms(clipped(scaled(sizes), clip))
    assert bool((after <= clip * (1 + 1e-5)).all())
    assert after.tolist() == pytest.approx([min(s, clip) for s in sizes], rel=1e-4, abs=1e-30)


@pytest.mark.parametrize("quantise", ["sign", "top_k"])
def test_decoys_and_coarse_values_stay_within_the_bound(quantise: str) -> None:
    """Sensitivity: whatever a device holds and whichever options are on, it sends no more than C."""
    after = protect(scaled([3.0, 1e4, 1e-3, 7.0]), clip=0.25, decoys=2, quantise=quantise, top_k=2)
    assert bool((norms(after) <= 0.25 * (1 + 1e-5)).all())


def large(n: int) -> DeviceUpdates:
    return DeviceUpdates(
        encoder=torch.zeros(n, 2000),
        rows=torch.zeros(n, 100, 30),
        items=torch.arange(1, 101, dtype=torch.int32),
        history=torch.ones(n, dtype=torch.int32),
        device=torch.arange(n),
    )


def test_noise_has_the_promised_size_in_both_blocks() -> None:
    after = protect(large(3), clip=0.5, noise=1.5)
    for block in (after.encoder, after.rows):
        flat = block.flatten(1)
        assert flat.std(dim=1).tolist() == pytest.approx([0.75] * 3, rel=0.06)
        assert flat.mean(dim=1).tolist() == pytest.approx([0.0] * 3, abs=0.07)
    assert not torch.equal(after.rows[0], after.rows[1])
    joint = torch.corrcoef(torch.stack([after.encoder[0], after.rows[0].flatten()[:2000]]))
    assert abs(float(joint[0, 1])) < 0.1  # the blocks do not share their noise


def test_noise_is_added_after_clipping() -> None:
    before = scaled([50.0, 0.1])
    cut, noisy = protect(before, clip=1.0), protect(before, clip=1.0, noise=0.3)
    zero = protect(scaled([0.0, 0.0]), clip=1.0, noise=0.3)
    torch.testing.assert_close(noisy.rows - cut.rows, zero.rows)
    torch.testing.assert_close(noisy.encoder - cut.encoder, zero.encoder)


def test_noise_follows_the_devices_keys() -> None:
    first, again = (protect(large(2), clip=1.0, noise=1.0) for _ in range(2))
    assert torch.equal(first.rows, again.rows)
    other = protect(large(2), seed=1, clip=1.0, noise=1.0)
    assert not torch.equal(first.rows, other.rows)
    swapped = with_noise(large(2), 1.0, keys(2)[::-1])
    assert torch.equal(swapped.rows[0], first.rows[1])


@pytest.mark.parametrize("bit", [0, 1, 40, 100, 127, 255])
def test_every_bit_of_a_key_counts(bit: int) -> None:
    """A generator that keeps 32 bits of its seed could be tried out by whoever gets the noise."""
    key = bytes(32)
    other = (1 << bit).to_bytes(32, "little")
    assert not np.array_equal(draws(key, "noise").random(4), draws(other, "noise").random(4))
    assert not np.array_equal(draws(key, "noise").random(4), draws(key, "decoys").random(4))


def test_the_generator_holds_128_bits_of_the_key() -> None:
    """Words of 64 bits: each takes part, and no two of many keys agree in the low 32 bits of both."""
    words = [draws(bytes([i]) * 32, "noise").bit_generator.state["state"]["key"] for i in range(50)]
    assert all(len(word) == 2 for word in words)
    assert all(int(part) >> 32 for word in words for part in word)


def test_noise_leaves_untouched_rows_alone() -> None:
    before = sample("device")
    after = protect(before, clip=1.0, noise=1.0)
    assert before.touched is not None
    assert not bool(after.rows[~before.touched].any())
    assert bool((after.rows[before.touched] != before.rows[before.touched]).any(dim=1).all())


@pytest.mark.parametrize("quantise", ["none", "sign", "top_k"])
def test_the_input_and_everything_else_is_left_as_it_was(quantise: str) -> None:
    before, copy = sample("device"), sample("device")
    after = protect(before, clip=0.1, noise=1.0, decoys=2, quantise=quantise, top_k=2)
    assert torch.equal(before.rows, copy.rows)
    assert torch.equal(before.encoder, copy.encoder)
    for name in ("items", "history", "device", "touched"):
        assert torch.equal(getattr(after, name), getattr(before, name))


def honest(n: int = 6, K: int = 120, d: int = 16, pulled: int = 12, seed: int = 0) -> DeviceUpdates:
    """Weak pushes along one line, and strong pulls of ``pulled`` rows a device along it."""
    g = torch.Generator().manual_seed(seed)
    users = torch.randn(n, 1, d, generator=g) + 2 * torch.randn(
        1, 1, d, generator=g
    )  # they have much in common
    rows = -0.02 * users * (0.5 + torch.rand(n, K, 1, generator=g))
    for k in range(n):
        chosen = torch.randperm(K, generator=g)[:pulled]
        rows[k, chosen] += users[k] + 0.3 * torch.randn(pulled, d, generator=g)
    return DeviceUpdates(
        encoder=torch.randn(n, 20, generator=g),
        rows=rows,
        items=torch.arange(3, 3 + 2 * K, 2, dtype=torch.int32),
        history=torch.full((n,), pulled, dtype=torch.int32),
        device=torch.arange(n),
    )


def strong(updates: DeviceUpdates) -> Tensor:
    sizes = interaction_sizes(updates.row_norms)
    return updates.row_norms > 0.5 * sizes[:, None]


def test_decoys_are_so_many_more_strong_rows_and_the_own_ones_stay() -> None:
    before = honest()
    after = protect(before, decoys=10)
    moved = (after.rows != before.rows).any(2)  # [n, K]
    assert moved.sum(1).tolist() == [10] * 6
    assert not bool((moved & strong(before)).any())
    assert torch.equal(strong(after), strong(before) | moved)
    assert torch.equal(after.encoder, before.encoder)


def test_a_decoy_has_the_size_and_the_direction_of_a_next_item() -> None:
    before = honest()
    after = protect(before, decoys=10)
    for k in range(len(before)):
        own = before.rows[k][strong(before)[k]]
        made = after.rows[k][(after.rows[k] != before.rows[k]).any(1)]
        centre = own.mean(0)
        alike = [torch.cosine_similarity(block, centre[None]).mean() for block in (own, made)]
        assert float(alike[1]) == pytest.approx(float(alike[0]), abs=0.1)
        assert float(made.norm(dim=1).mean()) == pytest.approx(float(own.norm(dim=1).mean()), rel=0.15)
        closest = torch.nn.functional.normalize(made, dim=1) @ torch.nn.functional.normalize(own, dim=1).T
        assert float(closest.max()) < 0.9999  # and none is a copy


def test_decoys_come_back_in_other_slices_and_with_new_values() -> None:
    whole = honest()
    some = torch.arange(0, len(whole.items), 2)
    part = replace(whole, items=whole.items[some], rows=whole.rows[:, some])

    def chosen(before: DeviceUpdates, seed: int, count: int) -> tuple[list[set[int]], DeviceUpdates]:
        after = protect(before, seed=seed, decoys=count)
        moved = (after.rows != before.rows).any(2)
        return [set(before.items[m].tolist()) for m in moved], after

    first, one = chosen(whole, 0, 20)
    again, two = chosen(whole, 1, 20)
    assert first == again
    assert not torch.equal(one.rows, two.rows)
    assert len({frozenset(items) for items in first}) == 6  # each device has an order of its own
    less, _ = chosen(part, 2, 20)
    inside = set(part.items.tolist())
    for k in range(6):
        assert first[k] & inside <= less[k]


def test_a_device_without_next_items_sends_no_decoys_and_more_than_fit_are_cut() -> None:
    before = honest()
    before.rows[2] = 0
    after = protect(before, decoys=1000)
    assert not bool(after.rows[2].any())
    assert bool((after.rows != before.rows).any(2)[0][~strong(before)[0]].all())


def test_decoys_are_touched_rows() -> None:
    before = sample("device")
    after = with_decoys(before, 3, keys(4), keys(4, 9))
    assert before.touched is not None
    assert torch.equal(after.rows[~before.touched], before.rows[~before.touched])


def test_signs_keep_shape_sign_and_what_was_zero() -> None:
    before = honest()
    before.rows[0, 5] = 0
    after = protect(before, quantise="sign")
    assert after.rows.shape == before.rows.shape
    assert torch.equal(after.rows.sign(), before.rows.sign())
    for k in range(len(before)):
        trained = before.rows[k][before.rows[k] != 0].abs()
        sent = after.rows[k][after.rows[k] != 0].abs()
        assert sent.tolist() == pytest.approx([float(trained.mean())] * len(sent), rel=1e-5)
    assert torch.equal(after.encoder, before.encoder)
    assert bool((norms(after) <= norms(before)).all())


def test_the_strongest_coordinates_of_each_row_are_kept() -> None:
    before = honest()
    after = protect(before, quantise="top_k", top_k=3)
    kept = after.rows != 0
    assert bool((kept.sum(2) == 3).all())
    assert torch.equal(after.rows[kept], before.rows[kept])
    least = after.rows.abs().masked_fill(~kept, torch.inf).amin(2)
    assert bool((before.rows.abs().masked_fill(kept, 0).amax(2) <= least).all())
    assert quantised(before, "top_k", 16) is before  # d = 16


@pytest.mark.parametrize(
    "options",
    [
        {"decoys": 40},
        {"quantise": "sign"},
        {"quantise": "top_k", "top_k": 1},
        {"clip": 0.1, "noise": 1.0, "decoys": 8, "quantise": "sign"},
    ],
)
def test_admission_takes_what_the_options_make(options: dict[str, Any]) -> None:
    """Also in a round with devices that have none of them on."""
    assert thin([honest(), protect(honest(seed=1), **options)]) == [{}, {}]
