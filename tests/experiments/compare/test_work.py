"""A cell that goes on from a shared warm-up is the run from round 1, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from common.config import RunConfig
from common.data import load
from emulation.federation import federate
from emulation.targets import with_targets
from experiments.compare import work
from experiments.compare.results import read_row
from experiments.compare.work import BULKY, CellWork, continue_from, honest_part, is_ready, warm_up
from experiments.pool import Job
from server.records.checkpoint import FILE
from tests.server.federation import LOG, Watch, config, lines, same_model, timeless

START = 4


def settings(*overrides: str) -> RunConfig:
    found = config("train.rounds=7", f"attack.start_round={START}", "attack.share=0.3", *overrides)
    return with_targets(found, load("synthetic", LOG))


@pytest.mark.parametrize(
    ("rule", "attack"),  # rules and attacks with and without a memory of earlier rounds
    [
        *(("mean", "pieck_ipe"), ("sieve", "label_to_target"), ("sieve", "pieck_ipe")),
        *(
            ("centred_clipping", "sign_flip"),
            ("centred_clipping", "pieck_ipe"),
            ("fltrust", "label_to_target"),
        ),
    ],
)
def test_the_shared_start_changes_nothing(tmp_path: Path, rule: str, attack: str) -> None:
    cell = settings(f"strategy.aggregator={rule}", f"attack.name={attack}")
    whole, shared, out = tmp_path / "whole", tmp_path / "shared", tmp_path / "out"
    expected = federate(cell, whole)
    honest = honest_part(cell)
    assert honest is not None
    warm_up(honest, shared, Watch(lambda _: False))
    assert is_ready(shared)
    continue_from(shared, honest, cell, out)
    found = federate(cell, out, resume=True)
    assert same_model(whole, out)
    assert found["test"] == expected["test"]
    for name in ("metrics", "audit"):
        assert timeless(lines(out, name)) == timeless(lines(whole, name))
    assert lines(whole, "audit") != []


def test_the_state_is_its_owners_and_the_events_begin_at_round_1(tmp_path: Path) -> None:
    cell = settings("attack.name=sign_flip")
    shared, out = tmp_path / "shared", tmp_path / "out"
    honest = honest_part(cell)
    assert honest is not None
    warm_up(honest, shared, Watch(lambda _: False))
    continue_from(shared, honest, cell, out)
    for folder in (shared, out):
        assert (folder / "state").stat().st_mode & 0o777 == 0o700
        assert (folder / "state" / FILE).stat().st_mode & 0o777 == 0o600
    federate(cell, out, resume=True)
    events = EventAccumulator(str(out / "events"))
    events.Reload()
    assert [e.step for e in events.Scalars("round/admitted")] == list(range(1, 8))


def test_a_warm_up_is_the_same_for_every_attack() -> None:
    first, second = (
        settings("attack.name=sign_flip"),
        settings("attack.name=scaling", "attack.params={scale: 3}"),
    )
    assert honest_part(first) == honest_part(second)
    assert honest_part(first) != honest_part(settings("attack.name=sign_flip", "strategy.aggregator=median"))


@pytest.mark.parametrize(
    "overrides", [("attack.name=none",), ("attack.start_round=1",), ("attack.start_round=8",)]
)
def test_without_honest_rounds_before_the_attack_nothing_is_shared(overrides: tuple[str, ...]) -> None:
    assert honest_part(settings("attack.name=zero", *overrides)) is None


def test_a_warm_up_that_never_ended_is_not_ready(tmp_path: Path) -> None:
    assert not is_ready(tmp_path)


@pytest.mark.parametrize("light", [False, True])
def test_a_cell_that_is_stopped_while_it_tidies_up_is_finished_and_tidied_up_later(
    tmp_path: Path, light: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("k", "a cell", settings("attack.name=none", "train.rounds=2"), tmp_path / "cell")
    notes: Any = Watch(lambda _: False)
    remove = shutil.rmtree

    def stopped(path: Path, **more: Any) -> None:
        if path.name == "state":
            raise KeyboardInterrupt
        remove(path, **more)

    with monkeypatch.context() as broken:
        broken.setattr(work.shutil, "rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            CellWork({}, light)(job, notes)
    found = read_row(job.folder)
    assert found is not None
    assert is_ready(job.folder)
    monkeypatch.setattr(work, "federate", None)  # nothing is trained again
    CellWork({}, light)(job, notes)
    CellWork({}, light)(job, notes)
    assert read_row(job.folder) == found
    assert not (job.folder / "state").exists()
    assert [(job.folder / name).exists() for name in BULKY] == [not light] * len(BULKY)
