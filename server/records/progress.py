"""How a deployed run is getting on, for its log."""

from __future__ import annotations

import logging
import time

from common.logs import event
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState


class LogProgress:
    """A line a tenth of the run, a lost round and an evaluation; each round below INFO, for JSON logs."""

    def __init__(self, rounds: int) -> None:
        self.rounds, self.started, self.first = rounds, time.monotonic(), 0
        self._log = logging.getLogger("flwr")

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.first = self.first or report.round
        done = report.round - self.first + 1
        worth = report.round % max(1, self.rounds // 10) == 0 or report.skipped
        left = (time.monotonic() - self.started) / done * (self.rounds - report.round)
        self._log.log(
            logging.INFO if worth else logging.DEBUG,
            "round %d of %d: %d of %d devices admitted%s%s, about %.0f s left",
            report.round,
            self.rounds,
            report.figures.get("admitted", 0),
            report.figures.get("asked", 0),
            f", {idle} idle" if (idle := int(report.figures.get("idle", 0))) else "",
            " (skipped)" if report.skipped else "",
            left,
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
