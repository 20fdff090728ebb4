"""Filling a board: what is free is claimed, computed in processes of its own, and put in its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from common.printable import printable
from experiments.compare.command import Planned
from experiments.compare.display import figures
from experiments.compare.results import read_row
from experiments.compare.work import CellWork, train_warm_up
from experiments.leaderboard.cells import Board, WarmUp
from experiments.leaderboard.claims import Claim, Claims
from experiments.pool import Event, Job, Notes, Pool
from experiments.units import seconds_text

LOOK_S = 5.0
"""Most seconds between two looks at a folder in which others have all that is left."""


@dataclass(frozen=True)
class BoardWork:
    """What a process of the pool does. ``warm``: folder of the honest rounds by key of a cell."""

    warm: Mapping[str, Path]
    light: bool

    def __call__(self, job: Job, notes: Notes) -> None:
        if isinstance(job, WarmUp):
            train_warm_up(job, notes)
        else:
            CellWork({job.key: self.warm[job.key]} if job.key in self.warm else {}, self.light)(job, notes)


@dataclass
class Free:
    """Jobs for a pool: each time the next that nobody has, so that there may be none now and one later."""

    board: Board
    chosen: Sequence[Planned]
    claims: Claims
    tried: set[str] = field(default_factory=set)
    _own: dict[str, Claim] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Job]:
        return self

    def __next__(self) -> Job:
        if (found := self.board.free(self.chosen, self.claims, self.tried)) is None:
            raise StopIteration
        self._own[found[0].key] = found[1]
        return found[0]

    def ended(self, event: Event) -> str:
        """Keep what a job brought and give up its claim; in a few words for the terminal."""
        job, claim = event.job, self._own.pop(event.job.key)
        if event.kind == "failed":
            self.tried.add(job.key)
            self.board.fail(job, event.text)
            self.claims.release(claim)
            return f"failed: {printable(event.text)}"
        row = None if isinstance(job, WarmUp) else read_row(job.folder)
        if not self.board.publish(job, claim):
            self.claims.release(claim)
            return "another machine has taken it over"
        self.claims.finish(claim)
        return "ready" if row is None else figures(row)


def fill(
    board: Board,
    chosen: Sequence[Planned],
    claims: Claims,
    pool: Pool,
    light: bool,
    console: Console,
    left: Callable[[], float],
    refresh: Callable[[], None],
) -> int:
    """Compute until every chosen cell is done or has failed here; returns how many failed here.

    ``left``: seconds that the open cells take. ``refresh`` is called after every cell that ends.
    """
    warm = {key: board.folder / "warmups" / name for key, name in board.plan.warm.items()}
    free = Free(board, chosen, claims)
    failed = 0
    while any(one.key not in free.tried for one in open_cells(board, chosen)):
        with closing(pool.run(free, BoardWork(warm, light))) as events:
            for event in events:
                if event.kind in ("done", "failed"):
                    told = free.ended(event)
                    failed += event.kind == "failed" and not isinstance(event.job, WarmUp)
                    _tell(console, board, event, told, left())
                    refresh()
        if any(one.key not in free.tried for one in open_cells(board, chosen)):  # others have what is left
            time.sleep(min(LOOK_S, claims.patience_s / 2))
    board.tidy()
    return failed


def open_cells(board: Board, chosen: Sequence[Planned]) -> list[Planned]:
    """Those of ``chosen`` that are not done."""
    done = board.done()
    return [one for one in chosen if one.key not in done]


def _tell(console: Console, board: Board, event: Event, told: str, seconds: float) -> None:
    count = f"[{len(board.done())}/{len(board.plan.cells)}]"
    line = f"{count} {event.job.title}: {told}; about {seconds_text(seconds)} left on this machine"
    console.print(line, soft_wrap=True, markup=False, highlight=False)
