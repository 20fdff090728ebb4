"""Histories made short on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.data import load, recent

LOG = load("synthetic", "devices=10,items=30,length=8")


@pytest.mark.parametrize("length", [1, 4, 100])
def test_the_last_interactions_stay_with_their_times(length: int) -> None:
    cut = recent(LOG, length)
    assert cut.times is not None
    assert LOG.times is not None
    for one, times, whole, all_times in zip(cut.sequences, cut.times, LOG.sequences, LOG.times, strict=True):
        assert one.tolist() == whole.tolist()[-length:]
        assert times.tolist() == all_times.tolist()[-length:]
    assert (cut.num_items, cut.item_ids, cut.user_ids) == (LOG.num_items, LOG.item_ids, LOG.user_ids)


def test_zero_keeps_all_and_a_log_may_have_no_times() -> None:
    assert recent(LOG, 0) is LOG
    assert recent(replace(LOG, times=None), 3).times is None
