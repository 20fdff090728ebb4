"""Nodes that say nothing for a while: what that costs in devices, rounds and seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from flwr.app import Message

from client.app import app as client_app
from common.config import RunConfig
from common.errors import RunError
from common.settings import load
from common.wire.replies import EARLY, LATE
from emulation.local_grid import LocalGrid
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState
from server.strategy import RobustStrategy

LOG = "devices=40,items=30,length=12"
Mute = Callable[[Message, int], bool]


class MutedGrid(LocalGrid):
    """Loses the messages for which ``mute(message, round in progress)`` holds, as a dead node does."""

    def __init__(self, mute: Mute, nodes: int = 2) -> None:
        log = {"data": "synthetic", "path": LOG, "repeatable": True}
        super().__init__(client_app, [{**log, "part": f"{i}/{nodes}"} for i in range(nodes)])
        self.mute, self.round, self.lost = mute, 1, 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = super().push_messages(messages)
        for number in ids:
            if self.mute(self._waiting[number], self.round):
                del self._waiting[number]
                self.lost += 1
        return ids


class Rounds:
    """Keeps what each round reports, and tells the grid which round comes next."""

    def __init__(self, grid: MutedGrid) -> None:
        self.grid, self.reports, self.clock = grid, list[RoundReport](), list[float]()

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.reports.append(report)
        self.clock.append(time.monotonic())
        self.grid.round = report.round + 1

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass

    def admitted(self) -> list[float]:
        return [report.figures["admitted"] for report in self.reports]


def config(rounds: int, deadline_s: float, **strategy: Any) -> RunConfig:
    tiny = ["data.name=synthetic", "model.dim=4", "model.max_len=8", "model.blocks=1", "eval.every=0"]
    tiny += ["train.devices_per_round=40", "train.slice_size=30", f"train.rounds={rounds}"]
    tiny += ["strategy.aggregator=mean"]
    made = load(overrides=tiny)
    return replace_strategy(made, deadline_s=deadline_s, wait_nodes=2, wait_s=5.0, **strategy)


def replace_strategy(made: RunConfig, **values: Any) -> RunConfig:
    return made.model_copy(update={"strategy": made.strategy.model_copy(update=values)})


def run(rounds: int, deadline_s: float, mute: Mute, nodes: int = 2, **strategy: Any) -> Rounds:
    grid = MutedGrid(mute, nodes)
    rounds_ = Rounds(grid)
    RobustStrategy(config(rounds, deadline_s, **strategy), 30, [rounds_]).start(grid)
    return rounds_


@pytest.fixture(scope="module")
def deadline() -> float:
    """Seconds that are long beside a round of nine nodes as this machine is now, and short for a test.

    The first gradient imports seconds of torch, which must not fall into a round with a deadline. A busy
    machine holds everything up for half a second now and then, which is no silence: so never less than .6 s.
    """
    run(1, 60.0, lambda message, round_: False, min_replies=1)
    clock = run(4, 60.0, lambda message, round_: False, nodes=9).clock
    return max(0.6, 5 * max(after - before for before, after in pairwise(clock)))


def test_a_node_that_dies_costs_its_devices_and_a_deadline(deadline: float) -> None:
    told = run(8, deadline, lambda message, round_: message.metadata.dst_node_id == 2 and round_ >= 2)
    assert told.admitted() == [40] + [20] * 7
    silent = [[e for e in report.audit if e["node"] == 2] for report in told.reports]
    assert [e["detail"] for e in silent[1]] == ["'no reply by the deadline'"]
    assert not any(silent[2:])  # it rests, so that it is not waited for in every round
    assert told.grid.lost == 2  # the task of round 2 and, five rounds later, the question who it is
    assert told.clock[-1] - told.clock[0] < 2 * deadline + 3.0  # not the half minute a newcomer is given


def test_a_node_that_comes_back_is_asked_again(deadline: float) -> None:
    told = run(8, deadline, lambda message, round_: message.metadata.dst_node_id == 2 and round_ == 2)
    assert told.admitted() == [40, 20, 20, 20, 20, 20, 40, 40]


def test_a_round_without_any_reply_is_one_round(deadline: float) -> None:
    """All rest after it; were they left to rest, the next rounds would pass empty in a moment."""
    told = run(4, deadline, lambda message, round_: round_ == 2 and message.metadata.message_type == "train")
    assert told.admitted() == [40, 0, 40, 40]
    assert [report.skipped for report in told.reports] == [False, True, False, False]


def test_a_federation_that_stays_silent_ends_the_run_with_a_reason(deadline: float) -> None:
    grid = MutedGrid(lambda message, round_: round_ >= 2)
    strategy = RobustStrategy(replace_strategy(config(100, deadline), wait_s=0.2), 30, [Rounds(grid)])
    with pytest.raises(RunError, match=r"0 of 1 nodes after 0\.2 s"):
        strategy.start(grid)
    assert strategy.state.round == 2


def relay(message: Message, round_: int) -> bool:
    """Nodes 1 to 6 of nine take turns: each answers until its turn comes, and is silent ever after."""
    node = message.metadata.dst_node_id
    return node <= 6 and round_ >= 1 + node and training(message)


def training(message: Message) -> bool:
    """Not the evaluations at the end, which wait ten deadlines for everybody."""
    return not message.metadata.message_type.startswith("evaluate")


def waited(told: Rounds) -> list[int]:
    """Rounds in which somebody was waited for until the deadline, as the audit says; a clock may be slow."""
    return [r.round for r in told.reports if any(e["detail"] == f"'{LATE}'" for e in r.audit)]


def test_nodes_that_take_turns_at_silence_hold_up_fewer_and_fewer_rounds(deadline: float) -> None:
    """Each costs its first miss, and then one round when its rest, which doubles, is over."""
    told = run(60, deadline, relay, nodes=9)
    held = waited(told)
    assert set(range(2, 8)) <= set(held)  # six first misses, which nobody can know before
    assert len(held) <= 6 * 4  # after 5, 10 and 20 rounds more; with rests of 5 rounds it would be all
    assert len([r for r in held if r > 45]) <= 3
    late = [e for report in told.reports for e in report.audit if e["detail"] == f"'{LATE}'"]
    assert {e["node"] for e in late} == set(range(1, 7))
    # Who held it up, and for how long (exactly, on a clock of its own: tests/transport/test_exchange.py)
    assert median(e["seconds_held"] for e in late) > 0.5 * deadline


def test_a_round_that_closes_at_a_share_of_the_replies_waits_for_nobody() -> None:
    told = run(
        20,
        30.0,  # no pause of a busy machine is so long
        lambda message, round_: message.metadata.dst_node_id <= 2 and round_ >= 2 and training(message),
        nodes=9,
        close_at=0.7,
    )
    assert waited(told) == []
    missed = [e for report in told.reports for e in report.audit if e["detail"] == f"'{EARLY}'"]
    assert {e["node"] for e in missed} == {1, 2}
    assert min(told.admitted()) >= 25
