"""An interrupted run goes on as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import CheckpointError, RunError
from common.settings import load
from emulation.federation import federate
from experiments.run_files import read_summary
from server.records.checkpoint import FILE
from tests.server.federation import BASE, Watch, config, lines, run, same_model
from tests.server.interruption import (
    CONFIG,
    ROUNDS,
    Report,
    change_meta,
    equal_runs,
    in_evaluation,
    in_round,
    interrupted,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    run(CONFIG, out)
    return out


@pytest.mark.parametrize(
    "when",
    [
        *(in_round(r) for r in (1, 2, 3, 4, ROUNDS)),
        in_evaluation(2, "valid"),
        in_evaluation(ROUNDS, "valid"),
        in_evaluation(ROUNDS, "test"),
    ],
    ids=["1", "2", "3", "4", "last", "valid-2", "valid-last", "test"],
)
def test_an_interruption_leaves_no_trace(whole: Path, tmp_path: Path, when: Callable[[Report], bool]) -> None:
    run(CONFIG, interrupted(tmp_path, when), resume=True)
    equal_runs(whole, tmp_path)


def test_every_round_and_evaluation_has_one_line(whole: Path) -> None:
    found = [(line["round"], line.get("split", "train")) for line in lines(whole, "metrics")]
    assert [r for r, kind in found if kind == "train"] == list(range(1, ROUNDS + 1))
    assert [pair for pair in found if pair[1] != "train"] == [
        *((r, "valid") for r in (2, 4, 6, 7)),
        (ROUNDS, "test"),
    ]


def test_work_done_before_the_checkpoint_is_not_repeated(tmp_path: Path) -> None:
    interrupted(tmp_path, in_round(5))
    watch = Watch()
    run(CONFIG, tmp_path, resume=True, listeners=[watch])
    assert [report.round for report in watch.rounds] == [5, 6, 7]


def test_a_finished_run_is_extended_by_more_rounds(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    train = CONFIG.train.model_copy(update={"rounds": ROUNDS + 2})
    watch = Watch()
    summary = run(CONFIG.model_copy(update={"train": train}), tmp_path, resume=True, listeners=[watch])
    assert [report.round for report in watch.rounds] == [ROUNDS + 1, ROUNDS + 2]
    assert summary["rounds"] == ROUNDS + 2
    assert summary["extended"] == [{"at": ROUNDS, "rounds": ROUNDS, "to": ROUNDS + 2}]
    assert summary["protocol"].endswith(f"; extended from {ROUNDS} to {ROUNDS + 2} rounds")
    found = [(line["round"], line.get("split", "train")) for line in lines(tmp_path, "metrics")]
    assert [r for r, kind in found if kind == "train"] == list(range(1, ROUNDS + 3))
    assert [r for r, kind in found if kind == "test"] == [ROUNDS + 2]
    assert not same_model(whole, tmp_path)
    with pytest.raises(CheckpointError, match="train.rounds was 9, given 7 .a run can only be extended"):
        run(CONFIG, tmp_path, resume=True)


def test_a_run_that_is_extended_twice_says_both(whole: Path, tmp_path: Path) -> None:
    """The first time before its end; a run that has its rounds from the start says nothing."""
    for rounds in (ROUNDS + 1, ROUNDS + 3):
        train = CONFIG.train.model_copy(update={"rounds": rounds})
        if rounds == ROUNDS + 1:
            interrupted(tmp_path, in_round(5))
        summary = run(CONFIG.model_copy(update={"train": train}), tmp_path, resume=True)
    assert summary["extended"] == [
        {"at": 4, "rounds": ROUNDS, "to": ROUNDS + 1},
        {"at": ROUNDS + 1, "rounds": ROUNDS + 1, "to": ROUNDS + 3},
    ]
    first, second = f"{ROUNDS} to {ROUNDS + 1} rounds after round 4", f"{ROUNDS + 1} to {ROUNDS + 3} rounds"
    assert summary["protocol"].endswith(f"; extended from {first}; extended from {second}")
    assert read_summary(tmp_path) == summary
    assert "extended" not in read_summary(whole)


def test_two_interruptions(whole: Path, tmp_path: Path) -> None:
    interrupted(tmp_path, in_round(3))
    with pytest.raises(InterruptedError):
        run(CONFIG, tmp_path, resume=True, listeners=[Watch(in_round(6))])
    run(CONFIG, tmp_path, resume=True)
    equal_runs(whole, tmp_path)


def test_resuming_a_finished_run_changes_nothing(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    watch = Watch()
    run(CONFIG, tmp_path / "run", resume=True, listeners=[watch])
    assert watch.rounds == []
    equal_runs(whole, tmp_path / "run")


def test_seconds_add_up_over_the_interruption(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    before = json.loads((whole / "summary.json").read_text())["seconds"]
    state = tmp_path / "run" / "state" / FILE
    change_meta(state, lambda meta: meta["extra"].update(elapsed=1000.0))
    after = run(CONFIG, tmp_path / "run", resume=True)["seconds"]
    assert 1000 < after < 1000 + before + 60


def test_evaluations_may_be_more_frequent_after_resuming(whole: Path, tmp_path: Path) -> None:
    interrupted(tmp_path, in_round(5))
    changed = CONFIG.model_copy(update={"eval": CONFIG.eval.model_copy(update={"every": 1})})
    run(changed, tmp_path, resume=True)
    assert same_model(whole, tmp_path)


@pytest.mark.parametrize("after", [1, 5], ids=["before the first checkpoint", "after it"])
def test_other_settings_are_refused(tmp_path: Path, after: int) -> None:
    interrupted(tmp_path, in_round(after))
    kept = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="other settings: seed was 0, given 5"):
        run(CONFIG.model_copy(update={"seed": 5}), tmp_path, resume=True)
    assert (tmp_path / "metrics.jsonl").read_bytes() == kept


def test_a_run_goes_on_in_another_folder_with_more_patience(whole: Path, tmp_path: Path) -> None:
    interrupted(tmp_path / "there", in_round(5))
    shutil.move(tmp_path / "there", tmp_path / "here")
    settings = config(f"train.rounds={ROUNDS}", "checkpoint_every=1", "strategy.aggregator=geometric_median")
    patient = {"deadline_s": 40.0, "wait_s": 90.0}
    settings = settings.model_copy(update={"strategy": settings.strategy.model_copy(update=patient)})
    run(settings, tmp_path / "here", resume=True)
    assert same_model(whole, tmp_path / "here")
    assert load(tmp_path / "here" / "config.yaml").strategy.deadline_s == 40.0


def test_a_folder_with_a_run_is_not_overwritten(whole: Path) -> None:
    kept = (whole / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match="already holds a run; go on with it .--resume"):
        run(CONFIG, whole)
    assert (whole / "model.safetensors").read_bytes() == kept


@pytest.mark.parametrize("left", ["audit.jsonl", "metrics.jsonl", "state"])
def test_what_an_unfinished_run_left_is_not_overwritten(whole: Path, tmp_path: Path, left: str) -> None:
    """Also where its settings were lost."""
    (shutil.copytree if (whole / left).is_dir() else shutil.copy)(whole / left, tmp_path / left)
    with pytest.raises(RunError, match="already holds a run; go on with it .--resume"):
        run(CONFIG, tmp_path)


def test_a_run_that_failed_before_its_first_round_does_not_block_its_folder(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RunError("too large")

    out = tmp_path / "run"
    other = config(f"train.rounds={ROUNDS}", "strategy.aggregator=median")
    with monkeypatch.context() as patch:
        patch.setattr("server.strategy.planned", fail)
        for _ in range(2):
            with pytest.raises(RunError, match="too large"):
                run(other, out)
    run(CONFIG, out)
    equal_runs(whole, out)


def test_a_folder_with_settings_alone_is_not_a_run_that_failed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 5\n")
    with pytest.raises(RunError, match="already holds a run; go on with it .--resume"):
        run(CONFIG, tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "seed: 5\n"


def test_a_comparison_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("{}")
    with pytest.raises(RunError, match="holds a comparison; choose another folder"):
        run(CONFIG, tmp_path)


def test_a_run_that_is_over_and_kept_no_checkpoint_is_not_begun_anew(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "over", ignore=shutil.ignore_patterns("state"))
    before = {path: path.read_bytes() for path in (tmp_path / "over").glob("*.*")}
    with pytest.raises(RunError, match="over holds a run that is over; choose another folder"):
        run(CONFIG, tmp_path / "over", resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "over").glob("*.*")} == before


def test_kill_9_and_resume(tmp_path: Path) -> None:
    settings = ["train.rounds=30", "checkpoint_every=3", "eval.every=3"]
    sets = [part for item in [*BASE, *settings] for part in ("--set", item)]
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "experiments.cli", "run", *sets, "--out", str(out)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        log = out / "metrics.jsonl"
        while not (log.exists() and '"round": 10,' in log.read_text()):
            assert child.poll() is None, "the run ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        status = child.wait()
    assert status == -signal.SIGKILL
    assert not (out / "summary.json").exists()
    assert (out / "state" / FILE).exists()
    federate(config(*settings), out, resume=True)
    federate(config(*settings), tmp_path / "whole")
    equal_runs(tmp_path / "whole", out)
