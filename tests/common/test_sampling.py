"""The part of the devices that evaluates: fixed, of the size wanted, the same wherever a device is."""

from __future__ import annotations

import torch

from common.sampling import ALL, Sample, hashes

SALT, OTHER = "5a" * 32, "00" * 32
NUMBERS = torch.arange(0, 30_000, 3)


def test_a_sample_has_the_size_wanted() -> None:
    for count in (1, 2_000, 9_999):
        assert int(Sample.of(SALT, NUMBERS, count).holds(NUMBERS).sum()) == count
    for count in (10_000, 20_000):
        assert Sample.of(SALT, NUMBERS, count) == Sample(SALT, ALL)
        assert bool(Sample(SALT).holds(NUMBERS).all())


def test_a_device_is_in_it_wherever_it_is() -> None:
    sample = Sample.of(SALT, NUMBERS, 2_000)
    whole = sample.holds(NUMBERS)
    order = torch.randperm(len(NUMBERS), generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample.holds(NUMBERS[order]), whole[order])
    assert torch.equal(sample.holds(NUMBERS[17:20]), whole[17:20])
    assert sample.holds(NUMBERS[:0]).shape == (0,)


def test_another_salt_draws_another_sample() -> None:
    one, two = (Sample.of(salt, NUMBERS, 5_000).holds(NUMBERS) for salt in (SALT, OTHER))
    assert abs(int((one & two).sum()) - 2_500) < 5 * 25  # σ of a hypergeometric: 25


def test_hashes_are_even() -> None:
    found = hashes(SALT, NUMBERS)
    assert int(found.min()) >= 0
    assert int(found.max()) < ALL
    assert len(found.unique()) == len(found)
    bins = torch.bincount(found >> 50, minlength=8)  # 1,250 ± 33 in each eighth
    assert bool(((bins - 1_250).abs() < 5 * 33).all())
    low = torch.bincount(found & 7, minlength=8)
    assert bool(((low - 1_250).abs() < 5 * 33).all())
