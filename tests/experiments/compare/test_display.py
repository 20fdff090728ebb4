"""What a grid shows while it runs. The time that a grid will still take."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from common.config import Component
from experiments.compare.display import Display, Remaining, Stretch, figures
from experiments.compare.labels import component_label, strategy_label
from experiments.pool import Event, Job
from experiments.units import seconds_text
from tests.server.federation import config

CONFIG = config("train.rounds=40")
JOB, OTHER, WARM = (
    Job(title[0], title, CONFIG, Path("nowhere")) for title in ("mean · alie", "krum · alie", "warm-up")
)
ROW = {"valid.ndcg@10": 0.1234, "er@10": 0.25, "seconds": 7.4}


def remaining(*jobs: Job) -> Remaining:
    return Remaining({job.key: Stretch(1, 40, 16) for job in jobs})


def test_a_terminal_sees_what_runs_and_what_has_ended() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with Display(console, 3, 1, remaining(JOB, OTHER)) as display:
        display.running(Event("started", JOB))
        display.running(Event("round", JOB, 12, "valid HR@10 0.1"))
        display.running(Event("round", JOB, 13))
        console.print(display._picture())
        assert "13/40" in out.getvalue()
        assert "valid HR@10 0.1" in out.getvalue()
        assert "1 of 3 cells; about " in out.getvalue()
        display.ended(Event("done", JOB), ROW)
        display.ended(Event("failed", OTHER, text="no disk"), None)
        console.print(display._picture())
    assert "3 of 3 cells, 1 failed" in out.getvalue()
    assert "valid NDCG@10 0.1234 ER@10 25.0% (7 s)" in out.getvalue()
    assert "failed: no disk" in out.getvalue()


def test_elsewhere_every_ended_cell_is_a_line() -> None:
    out = io.StringIO()
    with Display(Console(file=out, width=60), 2, 0, remaining(JOB, OTHER, WARM)) as display:
        display.running(Event("started", JOB))
        display.running(Event("round", JOB, 1))
        display.ended(Event("done", JOB), ROW)
        display.warmed(Event("failed", WARM, text="[no] disk"))
        display.ended(Event("failed", OTHER, text="no disk"), None)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[1/2] mean · alie: valid NDCG@10 0.1234 ER@10 25.0% (7 s); about ")
    assert lines[1].startswith("warm-up: failed: [no] disk; about ")
    assert lines[2:] == ["[2/2] krum · alie: failed: no disk"]


def test_figures_without_exposure() -> None:
    assert figures({"valid.ndcg@10": 0.5, "er@10": None, "seconds": 2}) == "valid NDCG@10 0.5000 (2 s)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(89, "89 s"), (600, "10 min"), (5300, "88 min"), (11100, "3 h 05 min")]
)
def test_spans_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_labels() -> None:
    krum = Component.model_validate({"name": "krum", "neighbours": 3})
    settings = {"pre": ["nnm", {"name": "clip", "bound": 2}], "byzantine": 0.1, "constraints": ["row_drift"]}
    assert component_label(krum) == "krum(neighbours=3)"
    assert (
        strategy_label(krum, settings)
        == "nnm > clip(bound=2) > krum(neighbours=3), byzantine=0.1, constraints=row_drift"
    )


SMALL, LARGE = (Job(name, name, config(), Path("nowhere")) for name in ("small", "large"))


def two_jobs() -> Remaining:
    return Remaining({"small": Stretch(1, 10, 8), "large": Stretch(11, 30, 32)})


def test_nothing_is_told_before_the_first_round() -> None:
    found = two_jobs()
    found.heard(Event("started", SMALL))
    assert found.seconds(9.0) is None


def test_time_is_made_of_device_updates() -> None:
    found = two_jobs()
    found.heard(Event("round", SMALL, 1))
    found.heard(Event("round", SMALL, 2))
    found.heard(Event("round", SMALL, 2, "an evaluation"))  # the same round again
    assert found.seconds(2.0) == pytest.approx(2.0 / 16 * (8 * 8 + 20 * 32))
    found.heard(Event("round", LARGE, 11))
    assert found.seconds(6.0) == pytest.approx(6.0 / 48 * (8 * 8 + 19 * 32))


def test_what_an_earlier_start_did_is_neither_done_nor_left() -> None:
    found = two_jobs()
    found.heard(Event("round", LARGE, 21))
    assert found.seconds(3.0) == pytest.approx(3.0 / 32 * (10 * 8 + 9 * 32))


def test_a_job_that_ended_early_leaves_nothing() -> None:
    found = two_jobs()
    found.heard(Event("round", SMALL, 1))
    found.heard(Event("failed", LARGE))
    assert found.seconds(1.0) == pytest.approx(9.0)
    found.heard(Event("done", SMALL))
    assert found.seconds(1.0) == 0.0
