"""Several machines fill one folder: no cell twice, none left out, whoever is killed; cells are real runs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from emulation.federation import federate
from experiments.compare.command import Planned
from experiments.leaderboard import work
from experiments.leaderboard.cells import Board, WarmUp
from experiments.leaderboard.claims import Claims
from experiments.leaderboard.work import fill, open_cells
from experiments.pool import Job, Notes
from tests.experiments.leaderboard.samples import Here, board, finish, result

ROOT = Path(__file__).resolve().parents[3]
START_S = 90.0


def filled(of: Board, chosen: Sequence[Planned]) -> tuple[int, str]:
    """How many cells failed, and what was told."""
    out = io.StringIO()
    with Claims(of.folder / "claims", 60) as claims:
        failed = fill(of, chosen, claims, Here(1), False, Console(file=out, width=200), float, lambda: None)
    return failed, out.getvalue()


def machine(folder: Path, name: str, seconds: float) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    module = "tests.experiments.leaderboard.machine"
    return subprocess.Popen(
        [sys.executable, "-m", module, str(folder), name, str(seconds)], env=environment, cwd=ROOT
    )


def told(folder: Path, what: str) -> list[tuple[str, str]]:
    """(machine, key) of what began or ended, in order."""
    path = folder / "told"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(name, key) for kind, name, key in lines if kind == what]


def until(condition: Callable[[], bool], children: Sequence[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < end
        assert all(child.poll() in (None, 0) for child in children)
        time.sleep(0.02)


def test_two_machines_share_the_cells_and_one_goes_on_alone(tmp_path: Path) -> None:
    _, of = board(tmp_path)
    first, second = children = [machine(tmp_path, "first", 0.2), machine(tmp_path, "second", 0.2)]
    try:
        until(lambda: {name for name, _ in told(tmp_path, "end")} == {"first", "second"}, children)
        until(lambda: len(begun(tmp_path, "first")) > 0, children)
        first.kill()  # in the middle of a job
        first.wait()
        broken = begun(tmp_path, "first")
        assert second.wait(START_S) == 0
    finally:
        for child in children:
            child.kill()
            child.wait()
    ended = told(tmp_path, "end")
    assert set(Counter(key for _, key in ended).values()) == {1}
    assert broken
    assert {name for name, key in ended if key in broken} <= {"second"}  # which went on where the first was
    assert of.done() == {one.key for one in of.plan.cells}
    assert list((of.folder / "work").iterdir()) == list((of.folder / "warmups").iterdir()) == []
    assert list((of.folder / "claims").glob("[!.]*")) == []


def begun(folder: Path, name: str) -> set[str]:
    """What a machine has begun and not ended."""
    return {key for who, key in told(folder, "begin") if who == name} - {
        key for who, key in told(folder, "end") if who == name
    }


def test_a_cell_is_the_run_that_it_says(tmp_path: Path) -> None:
    _, of = board(tmp_path, seeds=[0], strategies=["mean"])
    chosen = [one for one in of.plan.cells if one.labels["attack"] == "sign_flip"]
    failed, said = filled(of, chosen)
    assert failed == 0
    assert "[0/4] honest rounds: synthetic · sasrec · mean · 30% · seed 0: ready" in said
    assert of.done() == {one.key for one in chosen}
    for one in chosen:
        row = of.row(one.key)
        assert row is not None
        summary = federate(one.config, tmp_path / one.key)
        assert row["test.ndcg@10"] == summary["test"]["ndcg@10"]
        assert 0 < row["server_seconds"] < row["seconds"]
    assert filled(of, chosen) == (0, "")  # nothing is left to do


def test_a_failed_cell_is_told_kept_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, of = board(tmp_path)
    bad = of.plan.cells[3]
    broken = True

    def pretend(self: work.BoardWork, job: Job, notes: Notes) -> None:
        if broken and job.key == bad.key:
            raise OSError("no disk")
        job.folder.mkdir()
        if not isinstance(job, WarmUp):
            one = next(one for one in of.plan.cells if one.key == job.key)
            (job.folder / "row.json").write_text(json.dumps(result(one)))

    monkeypatch.setattr(work.BoardWork, "__call__", pretend)
    failed, said = filled(of, of.plan.cells)
    assert failed == 1
    assert "failed: no disk" in said
    assert open_cells(of, of.plan.cells) == [bad]
    assert of.errors() == {bad.key: "no disk"}
    assert of.states({})[bad.key] == "failed"
    assert [row["error"] for row in of.rows() if row["status"] == "failed"] == ["no disk"]
    broken = False
    assert filled(of, of.plan.cells)[0] == 0
    assert of.errors() == {}
    assert set(of.states({}).values()) == {"done"}


def test_what_an_earlier_owner_left_is_gone_on_with(tmp_path: Path) -> None:
    _, of = board(tmp_path)
    with Claims(of.folder / "claims", 60) as claims:
        first = of.free(of.plan.cells, claims, set())
        assert first is not None
        job, claim = first
        assert isinstance(job, WarmUp)
        job.folder.mkdir()
        (job.folder / "half").touch()
        claims.release(claim)
        again = of.free(of.plan.cells, claims, set())
        assert again is not None
        assert (again[0].folder / "half").exists()
        assert not job.folder.exists()
        assert not of.publish(job, claim)  # the first one wakes up: nothing of it is left
        assert of.publish(*again)
        claims.finish(again[1])
        after = of.free(of.plan.cells, claims, set())
        assert after is not None
        assert after[0].key == of.plan.cells[0].key


def test_states_and_others(tmp_path: Path) -> None:
    _, of = board(tmp_path)
    one, two, *_ = of.plan.cells
    finish(of, [one])
    (of.folder / "cells" / "of-other-code").mkdir()
    states: dict[str, Any] = of.states({two.key: (1, True)})
    assert Counter(states.values()) == {"done": 1, "in work": 1, "open": len(of.plan.cells) - 2}
    assert of.others() == 1
