"""Terms on the states that are there, against plain loops."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from client.cohort import Cohort
from client.fleet import open_fleet, read_settings
from client.regularisers.states import Anchor, Coherence
from common.config import ClientConfig
from common.data.ragged import Ragged
from common.data.types import Times
from common.settings import component
from tests.client.regularisers.helpers import LENGTH, own
from tests.client.samples import LENGTHS, histories, task


@pytest.mark.parametrize("tau", [0.0, 300.0])
def test_coherence_is_the_squared_step_between_real_neighbours(tau: float) -> None:
    mine = own(6)
    found = Coherence(weight=0.5, tau=tau)(mine)
    expected = [0.0] * LENGTH
    for t in range(1, LENGTH):
        if not mine.padding[t] and not mine.padding[t - 1]:
            faded = math.exp(-float(mine.gaps[t]) / tau) if tau else 1.0
            expected[t] = 0.5 * faded * sum(float(x) ** 2 for x in mine.hidden[t] - mine.hidden[t - 1])
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_coherence_does_not_join_the_last_position_to_the_first() -> None:
    assert float(Coherence()(own(LENGTH))[0]) == 0.0


def test_anchor_is_the_squared_distance_to_the_global_state() -> None:
    mine = own()
    expected = [2 * sum(float(x) ** 2 for x in row) for row in mine.hidden - mine.anchor]
    assert Anchor(weight=2.0)(mine).tolist() == pytest.approx(expected, rel=1e-12)


def clock(lengths: tuple[int, ...] = LENGTHS) -> list[Times]:
    """The k-th interaction of device i happens (i + 1)·k² seconds after its first."""
    return [(i + 1.0) * np.arange(n) ** 2 for i, n in enumerate(lengths)]


def gaps_seen(window: str, times: list[Times] | None, tau: float) -> tuple[Cohort, dict[int, list[float]]]:
    """Gaps without padding that each device's training reads."""
    terms = ClientConfig(regularisers=(component("coherence", tau=tau),))
    cohort = Cohort(
        replace(task(window=window), client_config=terms), range(len(LENGTHS)), histories(), (), times, key=5
    )
    seen = {}
    for index, devices in cohort._chunks(cohort._training(), cohort.rows, None):
        for i, row in zip(index.tolist(), devices.gaps, strict=True):
            seen[i] = row[len(row) - max(len(cohort.windows[i]) - 1, 0) :].tolist()
    return cohort, seen


@pytest.mark.parametrize("window", ["last", "random"])
def test_pauses_reach_the_device_and_belong_to_its_window(window: str) -> None:
    cohort, seen = gaps_seen(window, clock(), tau=60.0)
    starts = cohort.windows.starts - Ragged.of(cohort.sequences, np.int32).starts
    for i, (start, size) in enumerate(zip(starts.tolist(), cohort.windows.lengths.tolist(), strict=True)):
        moments = [(i + 1.0) * float(k) ** 2 for k in range(start, start + size)][:-1]
        expected = [0.0, *(b - a for a, b in pairwise(moments))]
        assert seen[i] == pytest.approx(expected[: len(moments)])
    assert max(seen[8]) > 0


@pytest.mark.parametrize(("times", "tau"), [(clock(), 0.0), (None, 60.0)])
def test_without_times_or_tau_every_weight_is_one(times: list[Times] | None, tau: float) -> None:
    _, seen = gaps_seen("last", times, tau)
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
