"""One seed, many independent places."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.seeding import WORDS, derive, generator, subkey

paths = st.lists(st.one_of(st.integers(0, 10**9), st.sampled_from(["device", "model", "round"])), max_size=3)


@given(seed=st.integers(0, 2**63), path=paths)
def test_a_derived_seed_fits_torch_and_is_repeatable(seed: int, path: list[int | str]) -> None:
    found = derive(seed, *path)
    assert 0 <= found < 2**63
    assert found == derive(seed, *path)
    torch.Generator().manual_seed(found)


@given(a=st.tuples(st.integers(0, 99), paths), b=st.tuples(st.integers(0, 99), paths))
def test_two_places_differ(a: tuple[int, list[int | str]], b: tuple[int, list[int | str]]) -> None:
    if (a[0], [str(p) for p in a[1]]) != (b[0], [str(p) for p in b[1]]):
        assert derive(a[0], *a[1]) != derive(b[0], *b[1])


@pytest.mark.parametrize("other", [(1, "device", 3, 4), (0, "device", 34), (0, "device", 4, 3), (0,)])
def test_neighbouring_places_differ(other: tuple[int, ...]) -> None:
    assert derive(0, "device", 3, 4) != derive(*other)


def test_a_seed_is_the_same_in_every_process() -> None:
    """Not Python's salted hash: nodes are processes, and must agree."""
    code = "from common.seeding import derive; print(derive(7, 'device', 3, 12))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) == derive(7, "device", 3, 12)


def test_a_generator_is_fresh_and_ignores_the_global_state() -> None:
    torch.manual_seed(0)
    first = torch.rand(5, generator=generator(3, "a"))
    torch.rand(100)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(5, generator=generator(3, "a")), first)
    assert not torch.equal(torch.rand(5, generator=generator(3, "b")), first)
    state = torch.get_rng_state()
    torch.rand(5, generator=generator(3, "a"))
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_of_neighbouring_places_are_not_correlated() -> None:
    drawn = torch.stack([torch.randn(2000, generator=generator(0, "device", i)) for i in range(12)])
    off = torch.corrcoef(drawn) - torch.eye(12)
    assert bool((off.abs() < 0.1).all())


SECRET = bytes(range(32))


def test_a_secret_fills_the_whole_state_of_the_generator() -> None:
    """A second implementation of the twister, given the same words, draws the same: nothing is left at 0."""
    drawn = hashlib.shake_256(subkey(SECRET, "slice", 3)).digest(4 * WORDS)
    twister = np.random.MT19937()
    words = np.frombuffer(drawn, dtype="<u4").copy()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": WORDS}}
    draws = torch.randint(0, 2**20, (2000,), generator=generator(SECRET, "slice", 3))
    assert draws.tolist() == [int(x) % 2**20 for x in twister.random_raw(2000)]


def test_secrets_that_share_what_torch_reads_of_a_seed_draw_otherwise() -> None:
    low = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5 + (1 << 32))
    assert torch.equal(*(torch.rand(4, generator=g) for g in low))  # why a seed is no secret
    other = SECRET[:-1] + b"!"
    for path in (("slice", 1), ("slice", 2)):
        one, two = (torch.rand(4, generator=generator(key, *path)) for key in (SECRET, other))
        assert not torch.equal(one, two)
    assert subkey(SECRET, "a") != subkey(SECRET, "b") != subkey(other, "b")
    assert derive(SECRET, "a") != derive(other, "a")
