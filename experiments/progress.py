"""Progress on the terminal: one bar a run, with the last figures and the time left."""

from __future__ import annotations

from importlib.util import find_spec
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.jobs import describe
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState


class Bar:
    """A listener that draws a bar on a terminal or in a notebook; elsewhere a line an evaluation."""

    def __init__(self, title: str, rounds: int, console: Console) -> None:
        self._console, self._title, self._rounds = console, title, rounds
        self._drawn = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._drawn,
        )
        self._task = self._progress.add_task(title, total=rounds, note="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self._progress.update(self._task, completed=report.round)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        note = describe(evaluation)
        self._progress.update(self._task, note=note)
        if not self._drawn:
            self._console.print(f"{self._title}: round {evaluation.round} of {self._rounds}, {note}")
