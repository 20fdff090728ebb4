"""A checkpoint that is damaged or cannot be written is told, and the last good one stays."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from common.errors import CheckpointError, RunError
from server.records.checkpoint import FILE, sealed, write_atomically, writing
from tests.server.federation import Watch, run
from tests.server.interruption import CONFIG, change_meta, equal_runs, in_round


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    run(CONFIG, out)
    return out


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
        with safe_open(state, framework="pt") as file:
            meta = file.metadata()["fedsieve"]
        tensors = load_file(state)
        gone = [key for key in tensors if key.startswith(name)]
        assert gone
        for key in gone:
            del tensors[key]
        save_file(tensors, state, metadata=sealed(tensors, meta))

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
        lambda state: change_meta(state, lambda meta: meta.pop("extra")),
        lambda state: change_meta(state, lambda meta: meta["extra"].pop("totals")),
        lambda state: change_meta(state, lambda meta: meta["extra"].update(sizes={})),
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


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.update(round=meta["round"] - 2),
        lambda meta: meta["settings"].update(seed=meta["settings"]["seed"] + 1),
        lambda meta: meta["extra"]["totals"].update(admitted=meta["extra"]["totals"]["admitted"] + 1),
        lambda meta: meta["extra"].update(elapsed=meta["extra"]["elapsed"] + 1),
        lambda meta: meta["extra"].update(note="added"),
    ],
    ids=["round", "settings", "total", "elapsed", "added"],
)
def test_another_digit_beside_the_tensors_is_told(
    whole: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    change_meta(tmp_path / "run" / "state" / FILE, change, seal=False)
    with pytest.raises(CheckpointError, match="damaged: what it holds is not what was saved"):
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


def test_a_full_disk_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            CheckpointError, match="make room there, or copy the folder .* and resume the run$"
        ):
            write_atomically(tmp_path / "file", b"data")
        patch.setattr(Path, "open", lambda *_: full(0))
        told = pytest.raises(RunError, match=r"lines: No space left on device; make room there")
        with told, writing(tmp_path / "lines"):
            (tmp_path / "lines").open()


def test_another_failure_gives_no_advice_about_room(tmp_path: Path) -> None:
    told = pytest.raises(RunError, match="absent: No such file or directory$")
    with told, writing(tmp_path / "absent"):
        (tmp_path / "absent").read_bytes()


class Full:
    """A TensorBoard writer on a full disk."""

    def add_scalar(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_events_on_a_full_disk_are_a_run_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", lambda *_, **__: Full())
    with pytest.raises(RunError, match=r"events: No space left on device; make room"):
        run(CONFIG, tmp_path)


def test_events_that_cannot_be_ended_do_not_hide_why_the_run_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = Full()
    monkeypatch.setattr(full, "add_scalar", lambda *_: None, raising=False)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", lambda *_, **__: full)
    with pytest.raises(InterruptedError, match="pulled the plug"):
        run(CONFIG, tmp_path, listeners=[Watch(in_round(3))])
    assert "the last events of" in caplog.text
