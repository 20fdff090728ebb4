"""The Flower Strategy: admission → weighting → combination → constraints → server step → audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from logging import INFO, getLogger
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from common.config import RunConfig
from common.device import resolve
from common.logs import event
from common.sampling import Sample
from common.seeding import subkey
from common.wire.reasons import Reason
from server.evaluation import early_stopping
from server.evaluation.collection import Split, collect, evaluate_messages
from server.nodes.roster import ENROL_S, Roster
from server.nodes.waiting import wait_for_nodes
from server.records.model_record import from_record, started_from, to_record
from server.records.report import Listener, RoundReport
from server.records.traffic import traffic
from server.round.drawing import Drawing
from server.round.health import Warnings, check_finite
from server.round.pipeline import Pipeline
from server.round.state import ServerState
from server.round.verdicts import AuditLines
from server.training import check_start, planned, received, rounds_of, train_messages
from transport.exchange import exchange
from transport.limits import REPLY_MB, megabytes

log = getLogger("flwr").log
SUMS_BYTES, TARGET_BYTES = 1 << 20, 256
"""What the reply to an evaluation may hold, and more for each target."""


class RobustStrategy(Strategy):
    """Runs ``config`` over a grid; ``state`` continues an earlier run.

    What is sent and what comes back is training.py and evaluation/; a round's arithmetic is round/; this
    class calls them in Flower's order.

    settled: called once a round and its evaluation are over, the moment to save, with the round, whether it
    was the last, and a function that makes the whole state: of all devices, so only where it is saved.
    audit: told what became of each reply to an evaluation, also where none could be used.
    catalogue: the fingerprint of the items that every node must have; empty: any.
    trained: rounds that there were, where an earlier model is kept.
    """

    def __init__(
        self,
        config: RunConfig,
        num_items: int,
        listeners: Sequence[Listener] = (),
        run: str = "run",
        settled: Callable[[int, bool, Callable[[], ServerState]], None] | None = None,
        audit: Callable[[Sequence[dict[str, Any]]], None] | None = None,
        catalogue: str = "",
    ) -> None:
        self.config, self.num_items, self.run, self.settled = config, num_items, run, settled
        self.audit = audit
        self.device = resolve(config.device)
        self.pipeline = Pipeline.build(config, num_items, self.device)
        self.state = self.pipeline.init()
        strategy = config.strategy
        trusted = frozenset(strategy.trusted_nodes)
        self.roster = Roster(strategy.quota, strategy.newcomer_rounds, trusted=trusted, catalogue=catalogue)
        self.listeners = listeners
        megabytes(REPLY_MB)  # a wrong one is told now
        self._drawing: Drawing | None = None
        self._split: Split = "valid"
        self._warnings = Warnings()
        self._unreliable = set[int]()  # nodes that left an evaluation unanswered
        self._sample: Sample | None = None
        self._began = 0.0
        self.trained = 0

    def summary(self) -> None:
        """Log the recipe."""
        s = self.config.strategy
        recipe = {"aggregator": s.aggregator.name, "optimizer": s.optimizer.name, "lr": s.lr}
        log(INFO, "aggregator %s, optimizer %s, lr %g", *recipe.values(), extra=event("recipe", recipe))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Draw the slice and the devices of a round; one message for each node that has some."""
        model = from_record(arrays, self.device, self.state.model.codes)
        rooted = self.pipeline.aggregator.rooted
        self._drawing = planned(self.config, self.run, server_round, model, self.state, self.roster, rooted)
        return train_messages(self._drawing)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Admit, combine, constrain and step; a round with too few replies is skipped."""
        clock = time.perf_counter()
        assert self._drawing is not None, "aggregate_train comes after configure_train"
        most = self.config.strategy.max_history
        admitted = received(replies, self._drawing, self.roster, most, self.device)
        seconds = time.perf_counter() - clock
        items = None if self.state.model.codes is None else self._drawing.task.items
        found = self.pipeline.round(self.state, admitted, server_round, items)
        self.state = found.state
        figures = {
            "admitted": float(len(admitted.identity)),
            "asked": float(sum(map(len, self._drawing.asked.values()))),
            **found.figures,
            "seconds_admission": seconds,
            "idle": float(admitted.audit.count_of(Reason.IDLE)),
        }
        self._warnings.lost(server_round, found.lost, found.error)
        drawn = len(self._drawing.task.items), self.num_items
        self._warnings.idle(server_round, int(figures["idle"]), int(figures["asked"]), *drawn)
        lines = AuditLines(admitted.audit, found.weights, self.roster.notices.take())
        self._report = RoundReport(server_round, figures, lines, found.lost)
        return (None if found.lost else to_record(self.state.model)), MetricRecord(dict(figures))

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """One message to every enrolled node, for the split and the devices chosen by :meth:`evaluate`."""
        self._began = time.perf_counter()
        model = from_record(arrays, self.device, self.state.model.codes)
        state = replace(self.state, round=server_round, model=model)
        return evaluate_messages(self.config, self.run, state, self.roster, self._split, self._sample)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Add the nodes' sums and tell the listeners; None when no device answered."""
        about = (server_round, self.roster, self._split, self._sample)
        collected = collect(replies, self.config, self.run, *about)
        if self.audit is not None:
            self.audit(collected.audit)
        self._unreliable |= collected.silent
        found = collected.evaluation
        if found is None:
            return None
        found = replace(found, seconds=time.perf_counter() - self._began)
        for listener in self.listeners:
            listener.on_evaluation(found)
        return MetricRecord({**found.groups["all"], **found.exposure})

    def evaluate(self, grid: Grid, split: Split, progress: bool = False) -> MetricRecord | None:
        """Rank on all devices now; to see ``progress``, on ``eval.sample`` of them.

        A node that once did not answer cannot hold up the progress again: ten deadlines are for the end, and
        for ``train.patience``, which compares.
        """
        if self.roster.doubted:
            self.roster.refresh(grid, self.state.round, min(ENROL_S, self.config.strategy.deadline_s))
        salt = subkey(self.state.secret, "evaluation").hex()
        self._split = split
        self._sample = self.roster.evaluated(self.config.eval.sample, salt) if progress else None
        record = to_record(self.state.model)
        messages = self.configure_evaluate(self.state.round, record, ConfigRecord(), grid)
        most = SUMS_BYTES + TARGET_BYTES * 2 * len(self.config.eval.targets)
        return self.aggregate_evaluate(
            self.state.round,
            exchange(
                grid,
                messages,
                10 * self.config.strategy.deadline_s,
                max_reply_bytes=most,
                unreliable=self._unreliable if progress and not self.config.train.patience else (),
                grace_s=self.config.strategy.deadline_s,
            ),
        )

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int | None = None,
        timeout: float | None = None,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run the rounds that are left, evaluate on test at the end, and return Flower's Result.

        ``timeout`` stands in for ``strategy.deadline_s`` in rounds of training; ``num_rounds`` ends the run
        before ``train.rounds``, over which the rate falls; ``initial_arrays`` stands in for the seeded start
        of a run that has not begun. Settings come with the RunConfig: ``train_config`` and
        ``evaluate_config`` are refused. Raises ConfigError, and RunError when too few nodes come within
        ``strategy.wait_s``.
        """
        check_start({"train_config": train_config, "evaluate_config": evaluate_config})
        if initial_arrays is not None:
            self.state = started_from(initial_arrays, self.state, self.device)
        rounds = rounds_of(self.config, num_rounds)
        self.summary()
        result = Result()
        self.roster.membership.restore(self.state.roster)
        self.roster.membership.check_sample(self.config.eval.sample)
        self.wait_for_nodes(grid)
        every, patience = self.config.eval.every, self.config.train.patience
        for round_ in range(self.state.round + 1, rounds + 1):
            if early_stopping.over(self.state.best, patience):
                log(INFO, "no better validation for %d evaluations: the run ends", patience)
                break
            if not self.roster.nodes:  # all are silent: the rounds that are left would pass in a moment
                self.wait_for_nodes(grid, 1)
            result.train_metrics_clientapp[round_] = self.round(grid, round_, timeout)
            check_finite(self.state.model, self.config.strategy, round_)
            due = round_ == rounds or (every and round_ % every == 0)
            watched = patience > 0  # what is compared is ranked by the same devices, the last one too
            if due and (metrics := self.evaluate(grid, "valid", watched or round_ < rounds)) is not None:
                result.evaluate_metrics_clientapp[round_] = metrics
                if watched:
                    reached = float(str(metrics[early_stopping.WATCHED]))
                    self.state = early_stopping.noted(self.state, round_, reached)
            if evaluate_fn and (central := evaluate_fn(round_, to_record(self.state.model))) is not None:
                result.evaluate_metrics_serverapp[round_] = central
            if self.settled is not None:
                last = round_ == rounds or early_stopping.over(self.state.best, patience)
                self.settled(round_, last, self._whole)
        if self.state.best:
            self.trained, self.state = self.state.round, early_stopping.kept(self.state)
            self.evaluate(grid, "valid")
        self.evaluate(grid, "test")
        result.arrays = to_record(self.state.model)
        return result

    def _whole(self) -> ServerState:
        return replace(self.state, roster=self.roster.membership.tensors())

    def round(self, grid: Grid, round_: int, timeout: float | None = None) -> MetricRecord:
        """One training round, from drawing to audit."""
        clock = time.perf_counter()
        deadline = timeout or self.config.strategy.deadline_s
        self.roster.refresh(grid, round_, min(ENROL_S, deadline))  # a dead node may be asked again
        arrays = to_record(self.state.model)
        messages = self.configure_train(round_, arrays, ConfigRecord(), grid)
        known = len(self.roster.nodes) + len(self.roster.roots)
        assert self._drawing is not None
        replies = exchange(
            grid,
            messages,
            deadline,
            max_reply_bytes=self._drawing.limits(),
            close_at=self.config.strategy.close_at,
        )
        waited = time.perf_counter() - clock
        exchanged = traffic(messages, replies, known)  # the replies are emptied as they are read
        _, metrics = self.aggregate_train(round_, replies)
        seconds = {"seconds_exchange": waited, "seconds": time.perf_counter() - clock}
        figures = self._report.figures | exchanged | seconds
        report = replace(self._report, figures=figures)
        for listener in self.listeners:
            listener.on_round(report, self.state)
        return metrics or MetricRecord()

    def wait_for_nodes(self, grid: Grid, wanted: int = 0) -> None:
        """Wait for ``wanted`` (or ``strategy.wait_nodes``) nodes; RunError after ``strategy.wait_s``."""
        strategy = self.config.strategy
        wait_for_nodes(grid, self.roster, self.state.round, wanted or strategy.wait_nodes, strategy.wait_s)
