"""Memory, threads and open files of this process's descendants, round by round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import psutil

MIB = 1 << 20
NAMES = {
    "transport.superlink": "superlink",
    "flower-superexec": "superexec",
    "flwr-serverapp": "serverapp",
    "client.node": "node",
    "benchmarks.nodes": "importer",
    "flwr run": "flwr run",
}

FORKED = "warm-node"
"""What a node that was forked calls itself; its command line is its parent's."""


@dataclass(frozen=True)
class Usage:
    """One process at one moment.

    rss  MiB in memory, pages shared with others counted in full
    pss  MiB, of a shared page only this process's part: these may be added up; 0 where nobody asked
    """

    rss: float
    threads: int
    files: int
    pss: float = 0.0


Sample = tuple[int, Mapping[str, Usage]]
"""A round and, by name, what every process used then."""


def look(pid: int, parts: bool = False) -> Usage | None:
    """Of one process; None when it is gone. ``parts`` asks for the pss too, which walks all its pages."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            pss = process.memory_full_info().pss / MIB if parts else 0.0
            rss, threads = process.memory_info().rss / MIB, process.num_threads()
            return Usage(rss, threads, process.num_fds(), pss)
    except psutil.Error:
        return None


def descendants(root: int | None = None) -> dict[int, str]:
    """Process id -> name of all children and their children; nodes are numbered as they were started."""
    counts: dict[str, int] = {}
    named = {}
    for process in sorted(psutil.Process(root).children(recursive=True), key=lambda one: one.pid):
        name = _name(process)
        counts[name] = counts.get(name, 0) + 1
        several = name == "node" or counts[name] > 1
        named[process.pid] = f"{name} {counts[name]}" if several else name
    return named


def _name(process: psutil.Process) -> str:
    try:
        if process.name() == FORKED:
            return "node"
        line = " ".join(Path(word).name for word in process.cmdline())
    except psutil.Error:
        return "gone"
    return next((name for mark, name in NAMES.items() if mark in line), line[:30].strip() or "gone")


def sample(parts: bool = False) -> dict[str, Usage]:
    """All descendants by name, now."""
    seen = {name: look(pid, parts) for pid, name in descendants().items()}
    return {name: usage for name, usage in seen.items() if usage is not None}


@dataclass(frozen=True)
class Course:
    """A process over a run.

    rss      means in the second and in the last fifth of the rounds
    threads  the most from the second to the fourth fifth, and in the last
    files    the fewest in the second fifth and in the last: not every sample has one that is soon closed
    """

    name: str
    rss: tuple[float, float]
    threads: tuple[int, int]
    files: tuple[int, int]

    @property
    def growth(self) -> float:
        """Of the memory, as a share of what it was."""
        return self.rss[1] / self.rss[0] - 1

    def troubles(self, tolerance: float, slack: int = 1) -> list[str]:
        """What is not flat: memory by more than ``tolerance``, files or threads that still rise at the end.

        A pool of threads grows to the most calls that ever came at once and keeps them, so that a busy
        moment may add one or two for good; a leak goes on. ``slack`` threads more are forgiven.
        """
        found = []
        if abs(self.growth) > tolerance:
            found.append(
                f"{self.name}: memory {self.rss[0]:.1f} -> {self.rss[1]:.1f} MiB ({self.growth:+.1%})"
            )
        for what, (before, after), more in (("threads", self.threads, slack), ("files", self.files, 0)):
            if after - before > more:
                found.append(f"{self.name}: {what} {before} -> {after}")
        return found


def courses(samples: Sequence[Sample], rounds: int) -> list[Course]:
    """Of every process seen in the second and in the last fifth: of 500 rounds, 101 to 200 and 401 to 500."""

    def within(first: float, last: float) -> list[Mapping[str, Usage]]:
        return [seen for round_, seen in samples if first < round_ / rounds <= last]

    early, before, late = within(0.2, 0.4), within(0.2, 0.8), within(0.8, 1.0)
    names = dict.fromkeys(name for seen in early for name in seen)
    return [
        Course(
            name,
            (mean(u.rss for u in _of(name, early)), mean(u.rss for u in _of(name, late))),
            (max(u.threads for u in _of(name, before)), max(u.threads for u in _of(name, late))),
            (min(u.files for u in _of(name, early)), min(u.files for u in _of(name, late))),
        )
        for name in sorted(names)
        if _of(name, late)
    ]


def _of(name: str, window: Iterable[Mapping[str, Usage]]) -> list[Usage]:
    return [seen[name] for seen in window if name in seen]
