"""A device's draws: the cipher's bits, wherever and in whatever company they are made."""

from __future__ import annotations

import secrets

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.keystream import Draws, by_tensors, keystream

ZEROS = bytes(32)
FIRST_BLOCK = (
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
)
"""ChaCha20 with key and nonce of zeros: RFC 8439, appendix A.1, vector 1."""


def hexed(words: torch.Tensor) -> str:
    return words.contiguous().numpy().tobytes().hex()


def test_the_stream_is_chacha20() -> None:
    nobody = torch.tensor([0])
    assert hexed(keystream(ZEROS, nobody, 16)) == FIRST_BLOCK
    assert hexed(by_tensors(ZEROS, nobody, 1)) == FIRST_BLOCK


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), st.integers(1, 50))
def test_a_card_makes_the_bits_of_the_cipher(numbers: list[int], count: int) -> None:
    """What runs on a card is tensor operations on integers: here on the CPU."""
    key, devices = secrets.token_bytes(32), torch.tensor(numbers)
    by_card = by_tensors(key, devices, -(-count // 16)).flatten(1)[:, :count]
    assert torch.equal(keystream(key, devices, count), by_card)


def test_more_words_begin_with_the_same() -> None:
    devices = torch.tensor([3, 9])
    assert torch.equal(keystream(ZEROS, devices, 100)[:, :7], keystream(ZEROS, devices, 7))
    assert keystream(ZEROS, devices[:0], 7).shape == (0, 7)


@pytest.mark.parametrize("changed", [{"key": 2}, {"round_": 4}, {"purpose": "noise"}])
def test_key_round_and_purpose_each_give_another_stream(changed: dict[str, object]) -> None:
    base: dict[str, object] = {"key": 1, "round_": 3, "purpose": "dropout"}
    numbers = torch.arange(3)
    one, other = (Draws.of(**made, numbers=numbers).words(8) for made in (base, base | changed))  # type: ignore[arg-type]
    assert not bool((one == other).any())
    assert len({tuple(row) for row in one.tolist()}) == 3


DRAWS = Draws.of(b"secret", 1, "test", torch.arange(2000))


def test_uniform_is_uniform() -> None:
    drawn = DRAWS.uniform(4, 5)
    assert drawn.shape == (2000, 4, 5)
    assert 0 <= float(drawn.min()) < 1e-3 < 1 - 1e-3 < float(drawn.max()) < 1
    assert torch.histc(drawn, 10).tolist() == pytest.approx([4000] * 10, rel=0.08)


def test_below_stays_below_and_covers_all() -> None:
    assert torch.bincount(DRAWS.below(torch.full((2000,), 4))).tolist() == pytest.approx([500] * 4, rel=0.15)
    bounds = torch.arange(1, 2001)
    assert bool((DRAWS.below(bounds) < bounds).all())
    assert int(DRAWS.below(torch.full((2000,), 2**31)).max()) > 2**30


@pytest.mark.parametrize("drop", [0.1, 0.5])
def test_dropout_has_its_rate_and_keeps_the_mean(drop: float) -> None:
    drawn = DRAWS.dropout(drop, 3, 7)
    assert float((drawn == 0).float().mean()) == pytest.approx(drop, abs=0.01)
    assert float(drawn.mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("count", "below"), [(1, 1), (6, 30), (20, 1000), (30, 30), (100, 10**9)])
def test_distinct_draws_are_distinct_and_do_not_depend_on_the_company(count: int, below: int) -> None:
    drawn = DRAWS.distinct(count, below)
    assert drawn.shape == (2000, count)
    assert bool(((drawn >= 0) & (drawn < below)).all())
    assert bool((drawn.sort(dim=1).values.diff(dim=1) > 0).all())
    some = torch.tensor([1999, 4])
    assert torch.equal(Draws(DRAWS.key, some).distinct(count, below), drawn[some])


@pytest.mark.parametrize(("count", "below"), [(3, 10), (3, 16)])
def test_every_item_is_drawn_alike(count: int, below: int) -> None:
    """Where most are wanted and where few are: two ways to draw."""
    share = torch.bincount(DRAWS.distinct(count, below).flatten(), minlength=below) / 2000
    assert share.tolist() == pytest.approx([count / below] * below, abs=0.04)
