"""Strangers' bytes at every door, for as long as one likes: nothing may raise, and nothing may take memory.

``python -m benchmarks.fuzz --minutes 60 --seed 0 --out runs/fuzz``. Hypothesis draws messages and damages
them; its database lies under ``--out``, so that a failure that was found once is tried first in the next
run. Status 1 and a file ``failure-TARGET.txt`` tell of one.

A target fails when it raises anything but the refusal that it documents, writes a stranger's control
characters to a log, needs more than ten seconds, or takes more than 64 MB beyond what was sent. Memory is the
growth of the resident set from before the call to its peak, which the kernel keeps (``VmHWM``, set back
before each call through ``/proc/self/clear_refs``): it sees Python, numpy and torch alike. An allocation
that nothing is written to is not resident; a limit on the address space ends it (1 GiB above the start).
"""

from __future__ import annotations

import argparse
import itertools
import logging
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import target as steer
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import HypothesisWarning

from benchmarks.fuzz_targets import TARGETS, Strict, Target

LIMIT_MB, LIMIT_S = 64.0, 10.0
SPACE = 1 << 30
BATCH = 200
TELL_S = 30.0
WIDTH = 1000
"""Characters of a line of a report: an example may hold megabytes."""


@dataclass
class Count:
    """What a target has been through."""

    examples: int = 0
    refused: int = 0
    peak_mb: float = 0.0
    seconds: float = 0.0


class Memory:
    """``with Memory() as m: …`` then ``m.mb``: growth of the resident set at its peak."""

    mb = 0.0

    def __enter__(self) -> Memory:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _kib("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.mb = (_kib("VmHWM") - self._before) / 1024


def _kib(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def judge(target: Target, count: Count, case: Any) -> float:
    """One example: MB beyond what was sent. Raises AssertionError, or whatever the target raised."""
    sent, clock, memory = target.sent(case), time.process_time(), Memory()
    with memory:
        refused = target.run(case)
    seconds, beyond = time.process_time() - clock, memory.mb - sent / 2**20
    count.examples, count.refused = count.examples + 1, count.refused + refused
    count.peak_mb = max(count.peak_mb, beyond)
    assert beyond <= LIMIT_MB, f"{beyond:.0f} MB beyond the {sent} bytes that were sent"
    assert seconds <= LIMIT_S, f"{seconds:.1f} s for {sent} bytes"
    return beyond


def batch(target: Target, count: Count, number: int, size: int, folder: Path, shrink: bool) -> None:
    """``size`` examples drawn from seed ``number``, after those that failed before. Raises what failed.

    shrink: look for the smallest such example, which may take minutes.
    """

    @settings(  # outside of the seed, which would switch the database off
        max_examples=size,
        deadline=None,
        database=DirectoryBasedExampleDatabase(folder),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        phases=[phase for phase in Phase if shrink or phase is not Phase.shrink],
    )
    @seed(number)
    @given(target.inputs)
    def look(case: Any) -> None:
        steer(judge(target, count, case))  # hypothesis looks for more where memory grew

    clock = time.perf_counter()
    try:
        look()
    finally:
        count.seconds += time.perf_counter() - clock


def fuzz(names: Sequence[str], seconds: float, number: int, out: Path, size: int = BATCH) -> list[str]:
    """Batches of each target in turn, one at least, until the time is over; the targets that failed."""
    counts = {name: Count() for name in names}
    end, told, failed = time.monotonic() + seconds, time.monotonic(), list[str]()
    for turn in itertools.count():
        for k, name in enumerate(names):
            if name in failed or (turn and time.monotonic() >= end):
                continue
            place = number + turn * len(names) + k
            folder = out / "examples" / name.replace(" ", "-")
            try:
                batch(TARGETS[name], counts[name], place, size, folder, shrink=seconds > TELL_S)
            except Exception as error:
                failed.append(name)
                report(error, out / f"failure-{name.replace(' ', '-')}.txt")
                print(f"{name}: {type(error).__name__}: {shown(str(error))}", flush=True)
            if time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                print(f"{name}: {counts[name].examples} examples, {counts[name].peak_mb:.1f} MB", flush=True)
        if time.monotonic() >= end or len(failed) == len(names):
            break
    print(table(counts, failed))
    return failed


def report(error: Exception, file: Path) -> None:
    """The trace, the example in short, and how hypothesis is told to make it again."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    file.write_text("\n".join(map(shown, lines)) + "\n", encoding="utf-8")


def shown(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}... ({len(line)} long)"


def table(counts: dict[str, Count], failed: Sequence[str]) -> str:
    lines = ["| target | examples | refused | peak MB | seconds | |", "|---|---|---|---|---|---|"]
    for name, c in counts.items():
        word = "failed" if name in failed else ""
        lines.append(f"| {name} | {c.examples} | {c.refused} | {c.peak_mb:.1f} | {c.seconds:.0f} | {word} |")
    return "\n".join(lines)


def confine() -> None:
    """One thread, every log line judged, and an end to the address space: for the rest of this process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", HypothesisWarning)  # of examples that are long to print
    root = logging.getLogger()
    root.handlers = [Strict()]
    logging.getLogger("flwr").handlers, logging.getLogger("flwr").propagate = [], True
    space = _kib("VmSize") * 1024 + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--batch", type=int, default=BATCH, help="examples of a target at a time")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    confine()
    failed = fuzz(options.targets, 60 * options.minutes, options.seed, options.out, options.batch)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
