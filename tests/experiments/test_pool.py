"""Jobs in their own processes: what one of them does to itself is its own affair."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from common.errors import RunError
from common.machine import available_mib
from experiments.pool import Event, Job, Notes, Pool
from tests.server.federation import config


def job(name: str, folder: Path) -> Job:
    return Job(name, name, config(), folder / name)


def work(job: Job, notes: Notes) -> None:
    if job.key == "told":
        raise RunError("the disk is full")
    if job.key == "crash":
        raise ZeroDivisionError("by zero")
    if job.key == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    job.folder.mkdir()
    (job.folder / "pid").write_text(str(os.getpid()))


def ended(events: list[Event]) -> dict[str, tuple[str, str]]:
    return {e.job.key: (e.kind, e.text) for e in events if e.kind in ("done", "failed")}


def test_a_job_that_fails_or_is_killed_costs_only_itself(tmp_path: Path) -> None:
    names = ("good", "told", "crash", "killed", "last")
    events = list(Pool(2, 1e9).run([job(name, tmp_path) for name in names], work))
    assert ended(events) == {
        "good": ("done", ""),
        "told": ("failed", "the disk is full"),
        "crash": ("failed", "ZeroDivisionError: by zero"),
        "killed": ("failed", "the process ended with exit code -9"),
        "last": ("done", ""),
    }
    assert [e.job.key for e in events if e.kind == "started"] == list(names)
    pids = {(tmp_path / name / "pid").read_text() for name in ("good", "last")}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids


def test_no_more_jobs_run_than_memory_holds(tmp_path: Path) -> None:
    events = list(Pool(4, 10.0).run([job(name, tmp_path) for name in ("a", "b", "c")], work))
    kinds = [e.kind for e in events if e.kind != "round"]
    assert kinds == ["started", "done"] * 3  # one at a time, but never none


def test_leaving_the_events_ends_the_processes(tmp_path: Path) -> None:
    pool = Pool(2, 1e9)
    events = pool.run([job(name, tmp_path) for name in ("a", "b", "c")], work)
    assert next(events).kind == "started"
    processes = [process for process, _ in pool._running.values()]
    events.close()  # type: ignore[attr-defined]
    assert processes
    assert not any(process.is_alive() for process in processes)


def test_no_jobs_are_no_events() -> None:
    assert list(Pool(2, 1e9).run([], work)) == []


def test_the_free_memory_is_known() -> None:
    assert 0 < available_mib() < 1e9
