"""What Linux has and macOS lacks: the shipped code runs without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.shipped import HOME

pytestmark = pytest.mark.deployment  # the command line in processes of its own, for most of a minute

HIDE = """
import os, sys
for name in ("sched_getaffinity", "sched_setaffinity", "pidfd_open", "memfd_create", "epoll"):
    if hasattr(os, name):
        delattr(os, name)

def hide(event, arguments):  # psutil asks macOS in another way
    looks = event in ("open", "os.listdir", "os.scandir")
    if not looks or not str(arguments[0]).startswith(("/proc", "/sys/")):
        return
    frame = sys._getframe(1)
    while frame is not None:
        if "psutil" in frame.f_code.co_filename:
            return
        frame = frame.f_back
    raise FileNotFoundError(2, "No such file or directory", arguments[0])

sys.addaudithook(hide)
"""
SETS = ["data.name=synthetic", "data.path=devices=24,items=40,length=8", "train.rounds=1", "model.dim=8"]
SETS += ["train.devices_per_round=8", "train.slice_size=16", "eval.every=1"]


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python, and every process it starts, where those are missing."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(HIDE)
    paths = os.pathsep.join([str(folder / "site"), str(HOME)])
    environment = {**os.environ, "PYTHONPATH": paths, "FEDSIEVE_METRICS": "127.0.0.1:0"}
    return subprocess.run(
        [sys.executable, "-P", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_hides_them(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", "import os; print(hasattr(os, 'sched_getaffinity')); open('/proc/meminfo')")
    assert done.stdout == "False\n"
    assert "FileNotFoundError" in done.stderr


def test_a_run_and_a_grid(tmp_path: Path) -> None:
    """The grid asks for cores and memory, and its cells run in processes of their own."""
    sets = [word for one in SETS for word in ("--set", one)]
    done = python(tmp_path, "-m", "experiments.cli", "run", *sets, "--out", "run")
    assert done.returncode == 0, done.stderr
    settings = dict(one.split("=", 1) for one in SETS[:2]) | {
        key: int(value) for key, _, value in (one.partition("=") for one in SETS[2:])
    }
    grid = {"configs": ["demo"], "strategies": ["mean"], "attacks": ["control"], "set": settings}
    (tmp_path / "grid.yaml").write_text(json.dumps(grid))
    done = python(tmp_path, "-m", "experiments.cli", "compare", "grid.yaml", "--out", "grid")
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_of_a_process(tmp_path: Path) -> None:
    code = (
        "from common.config import RunConfig\nfrom server.records.metrics import RunMetrics\n"
        "from prometheus_client import generate_latest\n"
        "print(len(generate_latest(RunMetrics('1', RunConfig()).registry)) > 100)"
    )
    done = python(tmp_path, "-c", code)
    assert done.stdout == "True\n", done.stderr
