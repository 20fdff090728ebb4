"""A run in figures for Prometheus: a listener that counts. Nothing here opens a port."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, Summary

from common.config import RunConfig
from common.data.called import log_name
from common.wire import Reason
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState
from server.round.verdicts import Verdict, verdicts

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of a round."""

STAGE = "seconds_"
"""Figures whose name begins like this are the seconds of a stage."""


class RunMetrics:
    """Counts since this process began (Prometheus knows how to take a restart), gauges of the last round.

    ``registry`` holds them, with memory, processor time and open files of the process.
    """

    def __init__(self, run: str, config: RunConfig) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"fedsieve_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"fedsieve_{name}", text, labels, registry=registry)

        self._round = gauge("round", "The last training round that ended")
        gauge("rounds_planned", "train.rounds").set(config.train.rounds)
        self._rounds = counter("rounds", "Training rounds that ended", "outcome")
        self._replies = counter("replies", "Nodes asked to train that answered, or did not", "outcome")
        self._updates = counter("updates", "Updates of devices, by verdict", "verdict")
        self._refused = counter("rejections", "Replies and updates that were refused", "of", "reason")
        self._bytes = counter("bytes", "Bytes of arrays sent to nodes and taken from them", "direction")
        self._nodes = gauge("nodes", "Nodes in the last round", "state")
        self._devices = gauge("devices", "Devices in the last round", "state")
        self._quality = gauge(
            "evaluation", "Means over all devices of the last evaluation", "split", "metric"
        )
        self._stage = Summary("fedsieve_stage_seconds", "Seconds by stage", ["stage"], registry=registry)
        self._seconds = Histogram(
            "fedsieve_round_seconds", "Seconds of a round", registry=registry, buckets=BUCKETS
        )
        about = {"run": run, "model": config.model.name, "data": log_name(config.data)}
        about["aggregator"] = config.strategy.aggregator.name
        Info("fedsieve_run", "What is being trained", registry=registry).info(about)
        self._begin()

    def _begin(self) -> None:
        """All that can be counted is there from the start as 0, so that a rate sees the first of it."""
        for outcome in ("stepped", "skipped"):
            self._rounds.labels(outcome)
        for outcome in ("answered", "silent"):
            self._replies.labels(outcome)
        for verdict in get_args(Verdict):
            self._updates.labels(verdict)
        for direction in ("in", "out"):
            self._bytes.labels(direction)
        for reason in set(Reason) - {Reason.IDLE}:
            for what in ("reply", "update"):
                self._refused.labels(what, reason.value)

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        figures = report.figures
        self._round.set(report.round)
        self._rounds.labels("skipped" if report.skipped else "stepped").inc()
        asked, answered = figures.get("nodes_asked", 0.0), figures.get("nodes_answered", 0.0)
        self._replies.labels("answered").inc(answered)
        self._replies.labels("silent").inc(max(0.0, asked - answered))
        self._bytes.labels("in").inc(figures.get("bytes_up", 0.0))
        self._bytes.labels("out").inc(figures.get("bytes_down", 0.0))
        self._seconds.observe(figures.get("seconds", 0.0))
        for name, value in figures.items():
            if name.startswith(STAGE):
                self._stage.labels(name.removeprefix(STAGE)).observe(value)
        for name in ("known", "asked", "answered"):
            self._nodes.labels(name).set(figures.get(f"nodes_{name}", 0.0))
        for name in ("asked", "admitted"):
            self._devices.labels(name).set(figures.get(name, 0.0))
        for (whole, verdict, reason), number in verdicts(report.audit).items():
            if not whole:
                self._updates.labels(verdict).inc(number)
            if verdict == "refused":
                self._refused.labels("reply" if whole else "update", reason).inc(number)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        for name, value in {**evaluation.groups["all"], **evaluation.exposure}.items():
            self._quality.labels(evaluation.split, name).set(value)
