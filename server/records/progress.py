"""How a deployed run is getting on, for its log."""

from __future__ import annotations

import logging
import time

from common.logs import event
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState


class Pace:
    """How long a run of ``rounds`` still takes, by the rounds that it has done since this was made."""

    def __init__(self, rounds: int) -> None:
        self.rounds, self._started, self._first = rounds, time.monotonic(), 0

    def left_s(self, round_: int) -> float:
        """Seconds after ``round_``; a resumed run has done none of the rounds before its first."""
        self._first = self._first or round_
        done = round_ - self._first + 1
        return (time.monotonic() - self._started) / done * (self.rounds - round_)

    @property
    def tenth(self) -> int:
        """Rounds from one line about a run to the next."""
        return max(1, self.rounds // 10)


def admitted(report: RoundReport) -> str:
    """``99 of 128 devices admitted``, how many were idle, and whether the round was lost."""
    counts = {name: int(report.figures.get(name, 0)) for name in ("admitted", "asked", "idle")}
    idle = f", {counts['idle']} idle" if counts["idle"] else ""
    lost = " (skipped)" if report.skipped else ""
    return f"{counts['admitted']} of {counts['asked']} devices admitted{idle}{lost}"


class LogProgress:
    """A line a tenth of the run, a lost round and an evaluation; each round below INFO, for JSON logs."""

    def __init__(self, rounds: int) -> None:
        self._pace = Pace(rounds)
        self._log = logging.getLogger("flwr")

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        worth = report.round % self._pace.tenth == 0 or report.skipped
        self._log.log(
            logging.INFO if worth else logging.DEBUG,
            "round %d of %d: %s, about %.0f s left",
            report.round,
            self._pace.rounds,
            admitted(report),
            self._pace.left_s(report.round),
            extra=event("round", {"skipped": report.skipped, **report.figures}, round_=report.round),
        )

    def on_evaluation(self, evaluation: Evaluation) -> None:
        found = evaluation.groups["all"]
        told = {**found, **evaluation.exposure, "split": evaluation.split, "devices": evaluation.devices}
        end = "_unfiltered" if evaluation.recurring else ""  # where answers recur it leads, as everywhere
        self._log.info(
            "round %d %s%s: HR@10 %.4f NDCG@10 %.4f over %d devices",
            evaluation.round,
            evaluation.split,
            end.replace("_", " "),
            found[f"hr@10{end}"],
            found[f"ndcg@10{end}"],
            evaluation.devices,
            extra=event("evaluation", told, round_=evaluation.round),
        )
