"""One writer a folder, also over processes, and none after it has died."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from common.errors import RunError
from server.records.checkpoint import FILE
from server.records.holding import hold
from server.records.outputs import RunFolder
from tests.server.federation import Watch, config, run

HOLD = """
import sys
from pathlib import Path
from server.records.holding import hold
held = hold(Path(sys.argv[1]))
"""


def other(folder: Path) -> subprocess.Popen[bytes]:
    """A process that holds the folder until it is killed."""
    code = HOLD + "print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    process = other(tmp_path / "run")
    try:
        with pytest.raises(RunError, match="run is in use by another run; stop that one first"):
            hold(tmp_path / "run", 0.2)
    finally:
        end(process)
    hold(tmp_path / "run", 0.0).release()


def test_it_waits_for_a_server_that_is_ending(tmp_path: Path) -> None:
    process = other(tmp_path)
    timer = threading.Timer(0.4, end, [process])
    started = time.monotonic()
    timer.start()
    hold(tmp_path, 30.0).release()
    timer.join()
    assert 0.3 < time.monotonic() - started < 10


def test_a_run_holds_its_folder_and_lets_go_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.records.outputs.hold", lambda folder: hold(folder, 0.0))
    found: list[str] = []

    def try_another(_: object) -> bool:
        with pytest.raises(RunError, match="in use") as refused:
            run(config(), tmp_path, resume=True)
        found.append(str(refused.value))
        return True

    with pytest.raises(InterruptedError):
        run(config(), tmp_path, listeners=[Watch(try_another)])
    assert len(found) == 1
    run(config(), tmp_path, resume=True)  # it let go, also when it failed
    hold(tmp_path, 0.0).release()


def test_who_holds_a_folder_removes_what_killed_writes_left(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    token = "0a" * 8
    parts = [tmp_path / f"model.safetensors.{token}.tmp", tmp_path / "state" / f"{FILE}.{token}.tmp"]
    others = [tmp_path / "notes.tmp", tmp_path / "state" / FILE]
    for path in (*parts, *others):
        path.touch()
    folder = RunFolder(tmp_path, config())
    folder.hold()
    folder.close()
    assert not [path for path in parts if path.exists()]
    assert all(path.exists() for path in others)


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", flock)
    hold(tmp_path).release()
    assert "cannot be locked (Operation not supported)" in caplog.text


def test_a_place_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"--out .*file/run: Not a directory"):
        hold(tmp_path / "file" / "run")
