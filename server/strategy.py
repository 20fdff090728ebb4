"""The Flower Strategy: admission → weighting → combination → constraints → server step → audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from logging import INFO, WARNING
from typing import Any, Literal

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from torch import Tensor

from common.config import RunConfig
from common.errors import RunError, WireError
from common.metrics import add, exposures, means
from common.seeding import generator
from common.tasks import EvaluateSums, EvaluateTask, TrainTask
from common.wire import SumsSpec, UpdateSpec, decode_evaluate_sums, encode_evaluate_task, encode_train_task
from server.admission import Admitted, AuditEntry, Reply, admit
from server.exchange import exchange
from server.model_record import fitting, from_record, to_record
from server.pipeline import Pipeline
from server.popularity import estimate
from server.report import Evaluation, Listener, RoundReport
from server.roster import ENROL_S, Roster
from server.slices import draw_slice
from server.state import ServerState
from server.traffic import content_bytes

Split = Literal["valid", "test"]


class RobustStrategy(Strategy):
    """Runs ``config`` over a grid; ``state`` continues an earlier run.

    The pieces are pure and live elsewhere (admission, pipeline); this class moves messages.
    ``settled`` is told the state once a round and its evaluation are over: the moment to save it.
    """

    def __init__(
        self,
        config: RunConfig,
        num_items: int,
        listeners: Sequence[Listener] = (),
        run: str = "run",
        settled: Callable[[ServerState], None] | None = None,
    ) -> None:
        self.config, self.num_items, self.run, self.settled = config, num_items, run, settled
        self.pipeline = Pipeline.build(config, num_items)
        self.state = self.pipeline.init()
        self.roster = Roster(config.strategy.quota)
        self.listeners = listeners
        self._asked: dict[int, Tensor] = {}
        self._slice: tuple[Tensor, Tensor] | None = None
        self._split: Split = "valid"

    def summary(self) -> None:
        """Log the recipe."""
        s = self.config.strategy
        log(INFO, "aggregator %s, optimizer %s, lr %g", s.aggregator.name, s.optimizer.name, s.lr)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Draw the slice and the devices of a round; one message for each node that has some."""
        train, strategy = self.config.train, self.config.strategy
        draw = generator(self.config.seed, "round", server_round)
        popularity = estimate(self.state.pulls, self.state.seen, len(self.roster.devices()))
        size = self.num_items if train.negatives == "full" else train.slice_size
        self._slice = items, log_q = draw_slice(popularity, size, draw)
        self._asked = self.roster.sample(round(train.devices_per_round * strategy.oversample), draw)
        task = TrainTask(
            run=self.run,
            round=server_round,
            seed=self.config.seed,
            model=from_record(arrays),
            items=items,
            log_q=log_q,
            devices=items.new_zeros(0),
            model_config=self.config.model,
            train_config=train,
            client_config=self.config.client,
            wire_dtype=self.config.wire.dtype,
        )
        return [
            Message(encode_train_task(replace(task, devices=devices)), node, MessageType.TRAIN)
            for node, devices in self._asked.items()
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Admit, combine, constrain and step; a round with too few replies is skipped."""
        clock = time.perf_counter()
        admitted = self._admit(server_round, list(replies))
        seconds = time.perf_counter() - clock
        enough = admitted.updates is not None and len(admitted.updates) >= self.config.strategy.min_replies
        weights = None
        figures = {
            "admitted": float(len(admitted.identity)),
            "asked": float(sum(map(len, self._asked.values()))),
        }
        if enough:
            try:
                step = self.pipeline.step(self.state, admitted, server_round)
                self.state, weights = step.state, step.weights
                figures |= step.figures
            except RunError as error:  # too few devices for the rule: this round is lost, not the run
                log(WARNING, "round %d is skipped: %s", server_round, error)
                enough = False
        if not enough:
            self.state = self.pipeline.skip(self.state, server_round)
        figures["seconds_admission"] = seconds
        lines = audit_lines(admitted, weights)
        self._report = RoundReport(server_round, figures, lines, skipped=not enough)
        return (to_record(self.state.model) if enough else None), MetricRecord(dict(figures))

    def _admit(self, round_: int, replies: Sequence[Message]) -> Admitted:
        assert self._slice is not None
        spec = UpdateSpec(
            run=self.run,
            round=round_,
            num_parameters=self.pipeline.layout.total,
            dim=self.config.model.dim,
            items=self._slice[0],
            num_items=self.num_items,
            devices=self._slice[0].new_zeros(0),
            negatives=self.config.train.negatives,
        )
        answers, silent = [], set(self._asked)
        for message in replies:
            node = message.metadata.src_node_id
            if node not in self._asked:
                continue
            silent.discard(node)
            failed = message.has_error()
            error = (message.error.reason or "error") if failed else ""
            answers.append(Reply(node, self._asked[node], None if failed else message.content, error))
        for node in sorted(silent):
            answers.append(Reply(node, self._asked[node], None, "no reply by the deadline"))
            self.roster.rest(node, round_)
        return admit(answers, spec, self.config.strategy.quota, self.config.strategy.max_history)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """One message to every enrolled node, for the split chosen by :meth:`evaluate`."""
        task = EvaluateTask(
            run=self.run,
            round=server_round,
            model=from_record(arrays),
            model_config=self.config.model,
            split=self._split,
            targets=self.config.eval.targets,
            quartiles=self._quartiles(),
        )
        return [Message(encode_evaluate_task(task), node, MessageType.EVALUATE) for node in self.roster.nodes]

    def _quartiles(self) -> tuple[int, int, int]:
        """Bounds for the histories of the split: before the test item they are one longer than enrolled."""
        first, second, third = self.roster.quartiles()
        more = 1 if self._split == "test" else 0
        return first + more, second + more, third + more

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Add the nodes' sums; what does not decode is left out and logged."""
        parts: list[EvaluateSums] = []
        for message in replies:
            node = message.metadata.src_node_id
            if message.has_error() or node not in self.roster.nodes:
                log(WARNING, "node %d did not evaluate", node)
                continue
            expect = SumsSpec(
                self.run, server_round, len(self.roster.nodes[node].devices), len(self.config.eval.targets)
            )
            try:
                parts.append(decode_evaluate_sums(message.content, expect))
            except WireError as error:
                log(WARNING, "evaluation of node %d refused: %s", node, error)
        if not parts:
            return None
        sums = add(parts)
        groups, exposure = means(sums), exposures(sums)
        if "all" not in groups:
            return None
        evaluation = Evaluation(server_round, self._split, groups, exposure, int(sums.count[0]))
        for listener in self.listeners:
            listener.on_evaluation(evaluation)
        return MetricRecord({**groups["all"], **exposure})

    def evaluate(self, grid: Grid, split: Split) -> MetricRecord | None:
        """Rank on all devices now."""
        self._split = split
        record = to_record(self.state.model)
        messages = self.configure_evaluate(self.state.round, record, ConfigRecord(), grid)
        return self.aggregate_evaluate(
            self.state.round, exchange(grid, messages, 10 * self.config.strategy.deadline_s)
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

        ``timeout`` stands in for ``strategy.deadline_s``; ``initial_arrays`` for the seeded start of
        a run that has not begun. Raises RunError when too few nodes come within ``strategy.wait_s``.
        """
        self.summary()
        result = Result()
        if initial_arrays is not None and self.state.round == 0:
            self.state = replace(self.state, model=fitting(from_record(initial_arrays), self.state.model))
        self.wait_for_nodes(grid)
        every, rounds = self.config.eval.every, num_rounds
        if rounds is None:
            rounds = self.config.train.rounds
        for round_ in range(self.state.round + 1, rounds + 1):
            if not self.roster.nodes:  # all are silent: the rounds that are left would pass in a moment
                self.wait_for_nodes(grid, 1)
            result.train_metrics_clientapp[round_] = self.round(grid, round_, timeout)
            due = round_ == rounds or (every and round_ % every == 0)
            if due and (metrics := self.evaluate(grid, "valid")) is not None:
                result.evaluate_metrics_clientapp[round_] = metrics
            if evaluate_fn and (central := evaluate_fn(round_, to_record(self.state.model))) is not None:
                result.evaluate_metrics_serverapp[round_] = central
            if self.settled is not None:
                self.settled(self.state)
        self.evaluate(grid, "test")
        result.arrays = to_record(self.state.model)
        return result

    def round(self, grid: Grid, round_: int, timeout: float | None = None) -> MetricRecord:
        """One training round, from drawing to audit."""
        clock = time.perf_counter()
        deadline = timeout or self.config.strategy.deadline_s
        self.roster.refresh(grid, round_, min(ENROL_S, deadline))  # a dead node may be asked again
        arrays = to_record(self.state.model)
        messages = self.configure_train(round_, arrays, ConfigRecord(), grid)
        replies = exchange(grid, messages, deadline)
        waited = time.perf_counter() - clock
        _, metrics = self.aggregate_train(round_, replies)
        traffic: dict[str, float] = {
            "bytes_down": float(sum(content_bytes(m) for m in messages)),
            "bytes_up": float(sum(content_bytes(m) for m in replies)),
            "seconds_exchange": waited,
            "seconds": time.perf_counter() - clock,
        }
        report = replace(self._report, figures={**self._report.figures, **traffic})
        for listener in self.listeners:
            listener.on_round(report, self.state)
        return metrics or MetricRecord()

    def wait_for_nodes(self, grid: Grid, wanted: int = 0) -> None:
        """Wait until ``wanted`` (or ``strategy.wait_nodes``) nodes have enrolled, saying how many have."""
        wanted, limit = wanted or self.config.strategy.wait_nodes, self.config.strategy.wait_s
        end, told = time.monotonic() + limit, -1
        while True:
            self.roster.resting.clear()
            self.roster.refresh(grid, self.state.round, min(ENROL_S, max(1.0, limit)))
            here = len(self.roster.nodes)
            if here >= wanted:
                return
            if here != told:
                log(INFO, "waiting for nodes: %d of %d", here, wanted)
                told = here
            if time.monotonic() >= end:
                raise RunError(f"{here} of {wanted} nodes after {limit:g} s; see strategy.wait_nodes, wait_s")
            time.sleep(0.2)


def audit_lines(admitted: Admitted, weights: Tensor | None) -> list[dict[str, Any]]:
    """The audit entries, with each admitted device's weight beside it."""
    weight = {} if weights is None else dict(zip(admitted.identity, weights.tolist(), strict=True))

    def line(entry: AuditEntry) -> dict[str, Any]:
        found = entry.to_json()
        if entry.device is not None and (entry.node, entry.device) in weight:
            found["weight"] = weight[entry.node, entry.device]
        return found

    return [line(entry) for entry in admitted.audit]
