"""The time that a grid will still take."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.compare.remaining import Remaining, Stretch
from experiments.jobs import Event, Job
from tests.server.federation import config

SMALL, LARGE = (Job(name, name, config(), Path("nowhere")) for name in ("small", "large"))


def remaining() -> Remaining:
    return Remaining({"small": Stretch(1, 10, 8), "large": Stretch(11, 30, 32)})


def test_nothing_is_told_before_the_first_round() -> None:
    found = remaining()
    found.heard(Event("started", SMALL))
    assert found.seconds(9.0) is None


def test_time_is_made_of_device_updates() -> None:
    found = remaining()
    found.heard(Event("round", SMALL, 1))
    found.heard(Event("round", SMALL, 2))
    found.heard(Event("round", SMALL, 2, "an evaluation"))  # the same round again
    assert found.seconds(2.0) == pytest.approx(2.0 / 16 * (8 * 8 + 20 * 32))
    found.heard(Event("round", LARGE, 11))
    assert found.seconds(6.0) == pytest.approx(6.0 / 48 * (8 * 8 + 19 * 32))


def test_what_an_earlier_start_did_is_neither_done_nor_left() -> None:
    found = remaining()
    found.heard(Event("round", LARGE, 21))
    assert found.seconds(3.0) == pytest.approx(3.0 / 32 * (10 * 8 + 9 * 32))


def test_a_job_that_ended_early_leaves_nothing() -> None:
    found = remaining()
    found.heard(Event("round", SMALL, 1))
    found.heard(Event("failed", LARGE))
    assert found.seconds(1.0) == pytest.approx(9.0)
    found.heard(Event("done", SMALL))
    assert found.seconds(1.0) == 0.0
