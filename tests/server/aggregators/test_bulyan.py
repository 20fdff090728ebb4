"""Bulyan: which devices it picks, and what it makes of their values."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from server.aggregators.bulyan import picked
from server.aggregators.gram import gram, squared_distances
from tests.server.aggregators import oracles_values
from tests.server.aggregators.helpers import apply, classic, flat, flat_of, make
from tests.server.aggregators.oracles_values import check


@given(f=st.integers(0, 2), extra=st.integers(0, 4), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_bulyan_is_its_oracle(f: int, extra: int, seed: int) -> None:
    updates = make(4 * f + 3 + extra, seed)
    check(flat_of(apply("bulyan", updates, f)), oracles_values.bulyan(flat(updates).numpy(), f))


def test_bulyan_scores_anew_after_each_pick() -> None:
    """The best of one pass (Flower's Bulyan) and the picks with new scores are not the same devices."""
    differs = 0
    for seed in range(20):
        u = flat(make(11, seed)).numpy()
        ours = picked(squared_distances(gram(make(11, seed))), 7, 2).nonzero()[:, 0].tolist()
        assert ours == sorted(oracles_values.picked(u, 2))
        distances = np.sort(((u[:, None] - u[None]) ** 2).sum(-1), axis=1)[:, 1:8]
        differs += ours != sorted(np.argsort(distances.sum(1))[:7].tolist())
    assert differs > 0


def test_bulyan_on_rows_keeps_what_the_picked_devices_hold() -> None:
    updates, f = classic(15, 4, share=0.6), 2
    assert updates.touched is not None
    chosen = oracles_values.picked(flat(updates).numpy(), f)
    ours = apply("bulyan", updates, f, electorate="touched").rows
    for k in range(updates.rows.shape[1]):
        votes = updates.rows[[i for i in chosen if updates.touched[i, k]], k].double().numpy()
        check(ours[k], oracles_values.bulyan_stage(votes, f))
    assert not torch.equal(ours, apply("bulyan", updates, f).rows)
