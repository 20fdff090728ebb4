"""Progress on the terminal: one bar a run, with the last figures and the time left."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from common.config import RunConfig
from common.errors import RunError
from common.machine import cores, thread_limit
from experiments.engines import emulate
from experiments.pool import Event, Job, Notes, Pool, Work, describe
from experiments.run_files import read_summary
from experiments.units import seconds_text
from server.records.progress import Pace, admitted
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState


class Bar:
    """A listener that draws a bar on a terminal or in a notebook; elsewhere it tells lines.

    Of each evaluation, and of each tenth of the run that has none. ``every``: rounds from one evaluation to
    the next, 0 for none before the end.
    """

    def __init__(
        self, title: str, rounds: int, console: Console, unit: str = "round", every: int = 0
    ) -> None:
        self._pace, self._every, self._told = Pace(rounds), every, 0
        self._console, self._title, self._rounds, self._unit = console, title, rounds, unit
        self._drawn = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(f"{unit}s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._drawn,
        )
        self._task = self._progress.add_task(title, total=rounds, note="")
        self._news = _News(self._say)

    def __enter__(self) -> Bar:
        self._progress.start()
        self._news.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._news.end()
        self._progress.stop()

    def _say(self, news: str) -> None:
        """What a long evaluation says of itself."""
        self._progress.update(self._task, note=news)
        if not self._drawn:
            self._console.print(f"{self._title}: {news}", markup=False, highlight=False)

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self._progress.update(self._task, completed=report.round)
        left, now = self._pace.left_s(report.round), report.round
        evaluated = now == self._rounds or (self._every and now % self._every == 0)
        if not evaluated and now // self._pace.tenth > self._told // self._pace.tenth:
            self._line(now, f"{admitted(report)}, about {seconds_text(left)} left")

    def on_evaluation(self, evaluation: Evaluation) -> None:
        note = describe(evaluation)
        self._progress.update(self._task, note=note)
        self._line(evaluation.round, note)

    def _line(self, round_: int, text: str) -> None:
        self._told = round_
        if not self._drawn:
            line = f"{self._title}: {self._unit} {round_} of {self._rounds}, {text}"
            self._console.print(line, markup=False, soft_wrap=True)


class _News(logging.Handler):
    """Hands on what the ranking in this process says, from :meth:`begin` to :meth:`end`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say, self._ranking = say, logging.getLogger("client.ranking")
        self._level = self._ranking.level

    def begin(self) -> None:
        self._level = self._ranking.level
        self._ranking.addHandler(self)
        self._ranking.setLevel(logging.INFO)

    def end(self) -> None:
        self._ranking.removeHandler(self)
        self._ranking.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


def run_all(
    runs: Mapping[str, RunConfig],
    out: Path,
    console: Console,
    workers: int = 0,
    resume: bool = False,
    work: Work | None = None,
) -> dict[str, dict[str, Any]]:
    """Run every config into ``out/NAME``; the summaries by name. The first error ends all, as a RunError.

    workers: runs at a time; 0 is one a core. A few runs of one length end soonest all at once. They share the
    cores that this process may use; OMP_NUM_THREADS is the most threads that each of them takes.
    resume: runs that were interrupted go on; else their folders are refused.
    work: does a run in place of ``emulate``.
    """
    workers = max(1, min(workers or cores(), len(runs)))
    pool = Pool(workers, math.inf, max(1, min(cores() // workers, thread_limit())))
    jobs = [Job(name, name, config, out / name) for name, config in runs.items()]
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    ) as progress:
        tasks = {
            job.key: progress.add_task(job.key, start=False, total=job.config.train.rounds, note="waiting")
            for job in jobs
        }
        for event in pool.run(jobs, work or partial(_work, resume=resume)):
            if event.kind == "failed":
                raise RunError(f"{event.job.title}: {event.text}")
            _show(event, progress, tasks[event.job.key], console)
    return {job.key: read_summary(job.folder) for job in jobs}


def _work(job: Job, notes: Notes, resume: bool) -> None:
    emulate(job.config, job.folder, resume, listeners=[notes])


def _show(event: Event, progress: Progress, task: Any, console: Console) -> None:
    if event.kind == "started":
        progress.start_task(task)
        progress.update(task, note="")
    elif event.kind == "round":
        progress.update(task, completed=event.round)
        if event.text:
            progress.update(task, note=event.text)
        if event.text and not console.is_terminal:
            console.print(f"{event.job.title}: round {event.round}, {event.text}", markup=False)
