"""Who votes on a row in the classic protocol: all devices, or those that hold it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.aggregators.helpers import apply, classic, flat, flat_of, make
from tests.server.aggregators.oracles_values import COORDINATE, check

SHARED = pytest.mark.parametrize("name", sorted(COORDINATE))


@SHARED
@given(n=st.integers(5, 9), f=st.integers(0, 2), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_devices_that_hold_a_row_are_its_electorate(name: str, n: int, f: int, seed: int) -> None:
    updates, oracle = classic(n, seed), COORDINATE[name]
    assert updates.touched is not None
    ours = apply(name, updates, f, electorate="touched")
    for k in range(updates.rows.shape[1]):
        votes = updates.rows[updates.touched[:, k], k].double().numpy()  # [m, d]
        check(ours.rows[k], oracle(votes, f) if len(votes) else np.zeros(votes.shape[1]))
    check(ours.encoder, oracle(updates.encoder.double().numpy(), f))
    everyone = apply(name, updates, f, electorate="all")
    check(flat_of(everyone), oracle(flat(updates).numpy(), f))


@SHARED
def test_all_and_touched_differ_where_few_hold_a_row(name: str) -> None:
    """Two of nine hold it and agree: theirs under ``touched``; the zeros of the others under ``all``."""
    updates = make(9)
    touched = torch.zeros(9, updates.rows.shape[1], dtype=torch.bool)
    touched[:2, 0] = True
    rows = torch.zeros_like(updates.rows)
    rows[:2, 0] = 1.0
    updates = replace(updates, rows=rows, touched=touched)
    theirs = apply(name, updates, 2, electorate="touched").rows
    assert theirs[0].tolist() == [1.0] * rows.shape[2]
    assert theirs[1:].abs().max() == 0
    by_all = apply(name, updates, 2, electorate="all").rows
    if name == "rlr":
        torch.testing.assert_close(by_all[0], torch.full_like(by_all[0], -2 / 9))
    else:
        assert by_all.abs().max() == 0


@SHARED
def test_a_full_electorate_is_no_restriction(name: str) -> None:
    updates = make(9)
    everyone = replace(updates, touched=torch.ones(9, updates.rows.shape[1], dtype=torch.bool))
    one, other = apply(name, updates, 2), apply(name, everyone, 2, electorate="touched")
    assert torch.equal(flat_of(one), flat_of(other))


@SHARED
def test_what_an_absent_device_sent_is_not_read(name: str) -> None:
    updates = classic(9, 3)
    assert updates.touched is not None
    noise = torch.where(updates.touched[:, :, None], updates.rows, 1e6)
    ours = apply(name, replace(updates, rows=noise), 2, electorate="touched")
    assert torch.equal(ours.rows, apply(name, updates, 2, electorate="touched").rows)
