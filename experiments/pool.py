"""Jobs in processes of their own, so that one that fails or is killed costs only itself.

The processes are forked from a server that has imported everything once: a job starts at once, sees no
other job's memory, and a crash of it is a result like any other.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch

from common.config import RunConfig
from common.errors import FedSieveError
from common.machine import peak_mib
from experiments.main_module import Main, hidden_main, import_main
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState

NEW_JOB_MB = 700.0
"""What a job is thought to take until the first one has ended."""
PRELOADED = ["emulation.federation", "torch._dynamo", "torch.utils.tensorboard"]
"""Imported once, before the first fork; the second is what torch.func imports at its first call."""


def processes() -> ForkServerContext:
    """How processes are made that start at once: forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@dataclass(frozen=True)
class Job:
    """``config`` to be run into ``folder``; ``title`` is shown, ``key`` is told with every event."""

    key: str
    title: str
    config: RunConfig
    folder: Path


Work = Callable[[Job, "Notes"], None]
"""What a process does with its job: a function of a module's top level."""


@dataclass(frozen=True)
class Event:
    """What happened to a job: ``started``, ``round``, ``done`` or ``failed``; text: figures or an error."""

    kind: str
    job: Job
    round: int = 0
    text: str = ""


@dataclass(frozen=True)
class Notes:
    """A listener that sends progress to the parent process."""

    pipe: Connection

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.pipe.send(("round", report.round, ""))

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.pipe.send(("round", evaluation.round, describe(evaluation)))


def describe(evaluation: Evaluation) -> str:
    """The figures of an evaluation in a few words; where answers recur those without a filter."""
    found, end = evaluation.groups["all"], "_unfiltered" if evaluation.recurring else ""
    split = evaluation.split + end.replace("_", " ")
    text = f"{split} HR@10 {found[f'hr@10{end}']:.3f} NDCG@10 {found[f'ndcg@10{end}']:.3f}"
    return text + (f" ER@10 {evaluation.exposure['er@10']:.3f}" if evaluation.exposure else "")


@dataclass
class Pool:
    """At most ``workers`` jobs at a time, and no more than ``memory_mb`` is likely to hold.

    Every job has ``threads`` threads, however many run beside it. ``main``: what a job imports before its
    work, in place of the main module (None: that one, as where the work is defined in it).
    """

    workers: int
    memory_mb: float = math.inf
    threads: int = 1
    main: Main | None = None
    _needs: float = NEW_JOB_MB
    _running: dict[Connection, tuple[Any, Job]] = field(default_factory=dict)

    def run(self, jobs: Iterable[Job], work: Work) -> Generator[Event, None, None]:
        """Do every job; events come as they happen. Closing the iterator ends all that still runs.

        A job is taken from ``jobs`` when there is room for it. An iterator that has none now is asked again
        while others run.
        """
        context = processes()
        waiting = iter(jobs)
        try:
            while True:
                while self._room() and (job := next(waiting, None)) is not None:
                    here, there = context.Pipe(duplex=False)
                    process = context.Process(
                        target=_child, args=(work, job, there, self.threads, self.main or {}), daemon=True
                    )
                    with nullcontext() if self.main is None else hidden_main():
                        process.start()
                    there.close()
                    self._running[here] = process, job
                    yield Event("started", job)
                if not self._running:
                    return
                for pipe in wait(list(self._running), timeout=1.0):
                    assert isinstance(pipe, Connection)
                    yield from self._hear(pipe)
        finally:
            self._end()

    def _room(self) -> bool:
        count = len(self._running)
        return count == 0 or (count < self.workers and (count + 1) * self._needs <= self.memory_mb)

    def _hear(self, pipe: Connection) -> Iterator[Event]:
        process, job = self._running[pipe]
        try:
            kind, number, text = pipe.recv()
        except (EOFError, OSError):  # it ended without a word: killed, or out of memory
            process.join()
            kind, number, text = "failed", 0, f"the process ended with exit code {process.exitcode}"
        if kind != "round":
            del self._running[pipe]
            pipe.close()
            process.join()
        if kind == "done":
            self._needs = max(self._needs, float(number))
        yield Event(kind, job, number, text)

    def _end(self) -> None:
        for pipe, (process, _) in self._running.items():
            process.terminate()
            pipe.close()
        for process, _ in self._running.values():
            process.join()
        self._running.clear()


def _child(work: Work, job: Job, pipe: Connection, threads: int, main: Main) -> None:
    _end_with_parent()
    torch.set_num_threads(threads)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    try:
        import_main(main)
        work(job, Notes(pipe))
    except FedSieveError as error:
        pipe.send(("failed", 0, str(error)))
    except Exception as error:
        pipe.send(("failed", 0, f"{type(error).__name__}: {error}"))
    else:
        pipe.send(("done", int(peak_mib()), ""))
    pipe.close()


def _end_with_parent() -> None:
    """Leave this process as soon as its parent is gone, however that ended: nobody waits for the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_outlived, args=(parent.sentinel,), daemon=True).start()


def _outlived(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
