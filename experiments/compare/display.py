"""A grid on the terminal: what runs, what has ended, and how long it will still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.printable import counted, printable
from experiments.pool import Event
from experiments.units import seconds_text

LATEST = 12


@dataclass(frozen=True)
class Stretch:
    """The rounds of a job, first to last, and the devices of each."""

    first: int
    last: int
    devices: int

    def after(self, round_: int) -> int:
        """Device updates after ``round_``."""
        return (self.last - round_) * self.devices


@dataclass
class Remaining:
    """Seconds left, by device updates: of these, and not of cells, is a grid's time made.

    ``stretches`` by job. So the first rounds already tell, warm-ups count for what they are, and the rounds
    that an earlier start of the grid did count as neither done nor left.
    """

    stretches: Mapping[str, Stretch]
    _done: int = 0
    _at: dict[str, int] = field(default_factory=dict)

    def heard(self, event: Event) -> None:
        """A job got so far or ended."""
        key = event.job.key
        stretch = self.stretches[key]
        if event.kind == "round":
            self._done += (event.round - self._at.get(key, event.round - 1)) * stretch.devices
            self._at[key] = event.round
        elif event.kind in ("done", "failed"):
            self._at[key] = stretch.last

    def seconds(self, elapsed: float) -> float | None:
        """After ``elapsed`` seconds; None before the first round has ended."""
        if not self._done:
            return None
        left = sum(one.after(self._at.get(key, one.first - 1)) for key, one in self.stretches.items())
        return elapsed / self._done * left


class Display:
    """A live table on a terminal; elsewhere a line for every cell that ends."""

    def __init__(self, console: Console, total: int, finished: int, remaining: Remaining) -> None:
        self.console, self.total, self.finished, self.remaining = console, total, finished, remaining
        self.failed = 0
        self._began = time.monotonic()
        self._running: dict[str, tuple[str, int, int, str]] = {}
        self._latest: deque[tuple[str, str]] = deque(maxlen=LATEST)
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._picture)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def running(self, event: Event) -> None:
        """A job has begun, or has got so far."""
        job = event.job
        self.remaining.heard(event)
        old = self._running.get(job.key, ("", 0, 0, ""))
        text = event.text or old[3]
        self._running[job.key] = (job.title, event.round or old[1], job.config.train.rounds, text)

    def ended(self, event: Event, row: Mapping[str, Any] | None) -> None:
        """A cell has ended: ``row`` are its results, None if it failed."""
        self.remaining.heard(event)
        self._running.pop(event.job.key, None)
        self.finished += 1
        self.failed += row is None
        told = figures(row) if row is not None else f"failed: {printable(event.text)}"
        self._latest.append((event.job.title, told))
        if not self.console.is_terminal:
            line = f"[{self.finished}/{self.total}] {event.job.title}: {told}{self._left()}"
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def warmed(self, event: Event) -> None:
        """A shared warm-up has ended."""
        self.remaining.heard(event)
        self._running.pop(event.job.key, None)
        if not self.console.is_terminal:
            told = "ready" if event.kind == "done" else f"failed: {printable(event.text)}"
            line = f"{event.job.title}: {told}{self._left()}"
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _left(self) -> str:
        seconds = self.remaining.seconds(time.monotonic() - self._began)
        return f"; about {seconds_text(seconds)} left" if seconds else ""

    def _picture(self) -> Group:
        bad = f", {self.failed} failed" if self.failed else ""
        head = Text(f"{self.finished} of {counted(self.total, 'cell')}{bad}{self._left()}", style="bold")
        now = Table("running", "round", "", box=None, pad_edge=False)
        for title, round_, rounds, text in self._running.values():
            now.add_row(Text(title), f"{round_}/{rounds}", Text(printable(text)))
        past = Table("ended", "", box=None, pad_edge=False)
        for title, told in self._latest:
            past.add_row(Text(title), Text(told))
        return Group(head, now, past)


def figures(row: Mapping[str, Any]) -> str:
    """The figures of a cell in a few words: on validation, so that nobody tunes by the test items."""
    found = row.get("valid.ndcg@10")
    parts = [f"valid NDCG@10 {found:.4f}"] if found is not None else []
    if row.get("er@10") is not None:
        parts.append(f"ER@10 {row['er@10']:.1%}")
    return " ".join([*parts, f"({row['seconds']:.0f} s)"])
