"""The walk of docs/start.md, as a reader takes it: in an empty folder, with a log and a grid of its own."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import first_steps
from tests.docs.pages import ROOT

START = ROOT / "docs" / "start.md"
SHORT = {"train.rounds=100": "train.rounds=2", "train.rounds=200": "train.rounds=2"}


def write_log(place: Path) -> None:
    """40 users who walk through 60 items, some of them by leaps."""
    rng = random.Random(0)
    rows = ["user,item,timestamp"]
    for user in range(40):
        item = rng.randrange(60)
        for step in range(rng.randrange(5, 20)):
            item = (item + rng.choice((1, 1, 1, 7))) % 60
            rows.append(f"u{user},film-{item},{1_700_000_000 + 1000 * user + step}")
    place.write_text("\n".join(rows) + "\n", encoding="utf-8")


def walk() -> tuple[list[str], str]:
    """The commands of the page after the install, and its grid."""
    commands, grid = first_steps.walk(START.read_text(encoding="utf-8"))
    return commands[1:], grid


def test_the_walk_is_five_commands_or_fewer() -> None:
    commands, _ = walk()
    assert 4 <= len(commands) <= 5
    assert all(command.startswith("fedsieve ") for command in commands)


@pytest.mark.deployment
@pytest.mark.timeout(600)
def test_the_walk(tmp_path: Path) -> None:
    write_log(tmp_path / "my-log.csv")
    commands, grid = walk()
    grid, shorter = re.subn(r"train\.rounds: \d+", "train.rounds: 2", grid)
    grid, fewer = re.subn(r"seeds: \[0, 1, 2\]", "seeds: [0]", grid)
    assert (shorter, fewer) == (1, 1)
    (tmp_path / "grid.yaml").write_text(grid, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for line in commands:
        for long, short in SHORT.items():
            line = line.replace(long, short)
        command = [sys.executable, "-m", "experiments.cli", *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    for page in ("runs/first", "runs/mine", "runs/grid"):
        assert (tmp_path / page / "report.html").stat().st_size > 10_000
    assert (tmp_path / "runs" / "grid" / "results.csv").read_text(encoding="utf-8").count("\n") == 1 + 6
