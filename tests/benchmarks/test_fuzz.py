"""A short run of the fuzzer, in a process of its own because it limits and measures its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from mmap import PAGESIZE, mmap
from pathlib import Path

import pytest
from hypothesis import strategies as st

from benchmarks.fuzz import Count, judge, main
from benchmarks.fuzz_targets import TARGETS, Target

CHECKED = list(TARGETS)
MEASURED = Path("/proc/self/clear_refs").exists()
pytestmark = pytest.mark.skipif(not MEASURED, reason="memory is measured through Linux's /proc")


def fuzz(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--out", str(out), *options]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_nothing_that_strangers_send_raises_or_takes_memory(tmp_path: Path) -> None:
    """Each target gets one batch, however slow the machine; the seed is fixed."""
    told = fuzz(tmp_path, "--minutes", "0", "--seed", "7", "--batch", "40", "--targets", *CHECKED)
    failures = "\n".join(file.read_text()[-4000:] for file in tmp_path.glob("failure-*.txt"))
    assert told.returncode == 0, f"{told.stdout}{told.stderr[-2000:]}\n{failures}"
    rows = [line.split("|") for line in told.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row[1].strip() for row in rows] == CHECKED
    assert all(int(row[2]) >= 30 and int(row[3]) > 0 for row in rows)


def target(run: object) -> Target:
    return Target("t", st.just(b""), run, len)  # type: ignore[arg-type]


def test_memory_that_was_taken_and_given_back_is_seen() -> None:
    judge(target(lambda case: fill(30 << 20)), Count(), b"")
    with pytest.raises(AssertionError, match="MB beyond the 0 bytes"):
        judge(target(lambda case: fill(90 << 20)), Count(), b"")


def fill(size: int) -> bool:
    """Take fresh pages and give them back; an allocator may have free ones that are resident already."""
    with mmap(-1, size) as pages:
        for place in range(0, size, PAGESIZE):
            pages[place] = 1
    return False


def test_a_failure_is_written_and_tried_first_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def run(case: int) -> bool:
        seen.append(case)
        if case > 1000:
            raise ZeroDivisionError("a fault")
        return False

    bad = Target("bad", st.integers(0, 10**6), run, lambda case: 0)
    monkeypatch.setitem(TARGETS, "bad", bad)  # type: ignore[arg-type]
    monkeypatch.setattr("benchmarks.fuzz.confine", lambda: None)  # this process has more tests to run
    options = ["--out", str(tmp_path), "--targets", "bad", "--minutes", "0"]
    assert main([*options, "--seed", "1"]) == 1
    assert "a fault" in (tmp_path / "failure-bad.txt").read_text()
    seen.clear()
    assert main([*options, "--seed", "2"]) == 1
    assert seen[0] > 1000  # hypothesis itself would begin with 0
