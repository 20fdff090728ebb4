"""How long ago an item was: from the log to the device, for models that read it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from client.cohort import Cohort
from client.fleet import open_fleet
from client.node_settings import read_settings
from common.data.ragged import Ragged
from common.data.types import Times
from tests.client.samples import LENGTHS, histories, model_config, task


def clock(lengths: tuple[int, ...] = LENGTHS) -> list[Times]:
    """The k-th interaction of device i happens (i + 1)·k² seconds after its first."""
    return [(i + 1.0) * np.arange(n) ** 2 for i, n in enumerate(lengths)]


def gaps_seen(window: str, times: list[Times] | None, model: str) -> tuple[Cohort, dict[int, list[float]]]:
    """Gaps without padding that each device's training reads."""
    settings = model_config(name=model, **({"times": True} if model == "hstu" else {}))
    what = task(settings, window=window)
    cohort = Cohort(what, range(len(LENGTHS)), histories(), (), times, key=5)
    seen = {}
    for index, devices in cohort._chunks(cohort._training(), cohort.rows, None):
        for i, row in zip(index.tolist(), devices.gaps, strict=True):
            seen[i] = row[len(row) - max(len(cohort.windows[i]) - 1, 0) :].tolist()
    return cohort, seen


@pytest.mark.parametrize("window", ["last", "random"])
def test_pauses_reach_the_device_and_belong_to_its_window(window: str) -> None:
    cohort, seen = gaps_seen(window, clock(), "hstu")
    starts = cohort.windows.starts - Ragged.of(cohort.sequences, np.int32).starts
    for i, (start, size) in enumerate(zip(starts.tolist(), cohort.windows.lengths.tolist(), strict=True)):
        moments = [(i + 1.0) * float(k) ** 2 for k in range(start, start + size)][:-1]
        expected = [0.0, *(b - a for a, b in pairwise(moments))]
        assert seen[i] == pytest.approx(expected[: len(moments)])
    assert max(seen[8]) > 0


@pytest.mark.parametrize(("times", "model"), [(clock(), "sasrec"), (None, "hstu")])
def test_without_times_or_a_model_that_reads_them_there_are_none(
    times: list[Times] | None, model: str
) -> None:
    _, seen = gaps_seen("last", times, model)
    assert not any(any(row) for row in seen.values())


def test_a_fleet_knows_the_times_of_what_it_trains_on() -> None:
    fleet = open_fleet(
        read_settings({"data": "synthetic", "path": "devices=9,items=30,length=8", "max_length": 6})
    )
    seconds = fleet.train_seconds(fleet.numbers)
    assert seconds is not None
    for number, times in zip(fleet.numbers, seconds, strict=True):
        assert len(times) == len(fleet.train(number))
        assert bool((torch.from_numpy(times).diff() > 0).all())
