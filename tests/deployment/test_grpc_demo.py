"""``fedsieve grpc-demo`` as a user starts it, and as a user stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.shipped import HOME as ROOT

pytestmark = pytest.mark.deployment
SMALL = (
    "data.name=synthetic",
    "model.dim=8",
    "model.max_len=12",
    "train.rounds=5",
    "train.devices_per_round=40",
    "train.slice_size=60",
)


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The command with its temporary files in ``folder``, so that its processes can be told from others."""
    (folder / "tmp").mkdir()
    settings = [part for setting in SMALL for part in ("--set", setting)]
    command = [sys.executable, "-m", "experiments.cli", "grpc-demo", *settings, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "COLUMNS": "120"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )


def left_over(folder: Path) -> list[str]:
    """Command lines of live processes that were started with temporary files below ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"FLWR_HOME={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [command for command in found if command]


def test_it_runs_and_shows_its_result(tmp_path: Path) -> None:
    output, _ = (process := demo(tmp_path, "--out", "result")).communicate(timeout=200)
    assert process.returncode == 0, output
    assert "200 devices of synthetic: 3 honest and 1 malicious node" in output
    for round_ in range(1, 6):
        assert f"round {round_} of 5: " in output
    assert "sasrec on synthetic" in output
    assert "ER@5/10/20" in output
    assert "Results in result/" in output
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert (summary["rounds"], summary["attack"], summary["malicious_share"]) == (5, "explicit_boost", 0.25)
    assert summary["evaluated_devices"] == 150  # the malicious node ranks nobody
    nodes = {
        json.loads(line)["node"] for line in (tmp_path / "result" / "audit.jsonl").read_text().splitlines()
    }
    assert len(nodes) == 4
    assert left_over(tmp_path) == []
    assert list((tmp_path / "tmp").glob("fedsieve-*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_midway_it_takes_its_processes_along(tmp_path: Path, number: signal.Signals) -> None:
    process = demo(tmp_path)
    assert process.stdout is not None
    try:
        assert any("submitting the run" in line for line in iter(process.stdout.readline, ""))
        assert len(left_over(tmp_path)) >= 5  # the SuperLink and four nodes
        time.sleep(0.5)
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert left_over(tmp_path) == []
    assert list((tmp_path / "tmp").glob("fedsieve-*")) == []


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    output, _ = (
        process := demo(tmp_path, "--out", "file/result", "--nodes", "1", "--malicious", "0")
    ).communicate(timeout=200)
    assert process.returncode == 2, output
    assert "the run ended as finished:failed" in output
    assert "Not a directory" in output
    assert left_over(tmp_path) == []
