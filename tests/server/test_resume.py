"""An interrupted run goes on as if nothing had happened, or says why it cannot."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from common.errors import CheckpointError, RunError
from server.checkpoint import FILE
from server.report import Evaluation, RoundReport
from tests.server.federation import BASE, Watch, config, lines, run, same_model, timeless

ROUNDS = 7
CONFIG = config(f"train.rounds={ROUNDS}", "checkpoint_every=2", "strategy.aggregator=geometric_median")
Report = RoundReport | Evaluation


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    run(CONFIG, out)
    return out


def in_round(number: int) -> Callable[[Report], bool]:
    return lambda found: isinstance(found, RoundReport) and found.round == number


def in_evaluation(number: int, split: str) -> Callable[[Report], bool]:
    return lambda found: isinstance(found, Evaluation) and (found.round, found.split) == (number, split)


def interrupted(out: Path, when: Callable[[Report], bool]) -> Path:
    with pytest.raises(InterruptedError):
        run(CONFIG, out, listeners=[Watch(when)])
    assert not (out / "summary.json").exists()
    return out


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    for key in ("seconds", "device_updates_per_second", "peak_rss_mb"):
        del found[key]
    return found


def equal_runs(one: Path, other: Path) -> None:
    assert same_model(one, other)
    for name in ("metrics", "audit"):
        assert timeless(lines(one, name)) == timeless(lines(other, name))
    assert summary(one) == summary(other)


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
    _change_meta(state, lambda meta: meta["extra"].update(elapsed=1000.0))
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
    with pytest.raises(CheckpointError, match="other settings"):
        run(CONFIG.model_copy(update={"seed": 5}), tmp_path, resume=True)
    assert (tmp_path / "metrics.jsonl").read_bytes() == kept


def test_a_folder_with_a_run_is_not_overwritten(whole: Path) -> None:
    kept = (whole / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match="already holds a run; continue it with --resume"):
        run(CONFIG, whole)
    assert (whole / "model.safetensors").read_bytes() == kept


def _change_meta(state: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors import safe_open

    with safe_open(state, framework="pt") as file:
        meta = json.loads(file.metadata()["fedsieve"])
    change(meta)
    save_file(load_file(state), state, metadata={"fedsieve": json.dumps(meta)})


def _truncate(state: Path) -> None:
    state.write_bytes(state.read_bytes()[:-40])


def _garbage(state: Path) -> None:
    state.write_bytes(os.urandom(300))


def _empty(state: Path) -> None:
    state.write_bytes(b"")


def _flip_a_bit(state: Path) -> None:
    data = bytearray(state.read_bytes())
    data[-5] ^= 16
    state.write_bytes(bytes(data))


def _drop(name: str) -> Callable[[Path], None]:
    def drop(state: Path) -> None:
        from safetensors import safe_open

        from server.checkpoint import digest

        with safe_open(state, framework="pt") as file:
            meta = json.loads(file.metadata()["fedsieve"])
        tensors = load_file(state)
        gone = [key for key in tensors if key.startswith(name)]
        assert gone
        for key in gone:
            del tensors[key]
        meta["digest"] = digest(tensors)
        save_file(tensors, state, metadata={"fedsieve": json.dumps(meta)})

    return drop


def _no_meta(state: Path) -> None:
    save_file(load_file(state), state)


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _garbage,
        _empty,
        _flip_a_bit,
        _drop("model/table"),
        _drop("pulls"),
        _drop("optimizer/"),
        _no_meta,
        lambda state: _change_meta(state, lambda meta: meta.pop("extra")),
        lambda state: _change_meta(state, lambda meta: meta["extra"].pop("totals")),
        lambda state: _change_meta(state, lambda meta: meta["extra"].update(sizes={})),
    ],
    ids=[
        *("truncated", "garbage", "empty", "bit", "no-table", "no-pulls", "no-optimizer", "no-meta"),
        *("no-extra", "no-totals", "no-sizes"),
    ],
)
def test_a_damaged_checkpoint_is_told(whole: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    shutil.copytree(whole, tmp_path / "run")
    damage(tmp_path / "run" / "state" / FILE)
    with pytest.raises(CheckpointError, match="damaged"):
        run(CONFIG, tmp_path / "run", resume=True)


def test_lines_that_someone_cut_are_told(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "audit.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"audit\.jsonl is shorter than the checkpoint says"):
        run(CONFIG, tmp_path / "run", resume=True)


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_leaves_the_last_checkpoint(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    calls = 0

    def full(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:  # config.yaml and the checkpoint of round 2 went through
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*args)

    owner: Any = os if place == "fsync" else Path
    original = getattr(owner, place)
    with monkeypatch.context() as patch:
        patch.setattr(owner, place, full)
        with pytest.raises(CheckpointError, match=r"cannot write .*No space left .*checkpoint is intact"):
            run(CONFIG, tmp_path)
    assert [p.name for p in (tmp_path / "state").iterdir()] == [FILE]
    run(CONFIG, tmp_path, resume=True)
    equal_runs(whole, tmp_path)


def test_a_full_disk_while_logging_is_a_run_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def full(self: Path, mode: str = "r", **more: Any) -> Any:
        if mode == "a":
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(RunError, match=r"audit\.jsonl: No space left on device"):
            run(CONFIG, tmp_path)


def test_a_state_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        run(CONFIG, tmp_path)


def test_kill_9_and_resume(tmp_path: Path) -> None:
    rounds = 80
    settings = [f"train.rounds={rounds}", "checkpoint_every=3", "eval.every=3"]
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
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        status = child.wait()
    assert status == -signal.SIGKILL
    assert not (out / "summary.json").exists()
    assert (out / "state" / FILE).exists()
    resume = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=120)
    assert resume.returncode == 0, resume.stderr
    from experiments.emulation import emulate

    emulate(config(*settings), tmp_path / "whole")
    equal_runs(tmp_path / "whole", out)
