"""Federated evaluation: honest sums add up, lies stay outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Context, Message
from flwr.serverapp import Grid

from client.app import app as client_app
from client.fleet import open_fleet
from client.node_settings import read_settings
from common.errors import RunError
from common.tasks import METRICS, EvaluateSums
from common.wire import SumsSpec, decode_evaluate_sums, encode_evaluate_sums
from common.wire.replies import Replies
from server import strategy
from tests.server.federation import DEVICES, Watch, config, node, run, without
from transport.messages import App

LIES: dict[str, Callable[[EvaluateSums], EvaluateSums]] = {
    "more hits than devices": lambda s: replace(s, metrics=s.metrics + 1000),
    "negative sums": lambda s: replace(s, metrics=s.metrics - 1000),
    "NaN": lambda s: replace(s, metrics=s.metrics * float("nan")),
    "more devices than enrolled": lambda s: replace(s, count=s.count * 1000),
    "negative counts": lambda s: replace(s, count=-s.count),
    "quartiles that do not add up": lambda s: replace(s, count=s.count + torch.tensor([0, 1, 0, 0, 0])),
    "metrics that do not add up": lambda s: replace(
        s, metrics=s.metrics * torch.tensor([[1.0], *[[0.0]] * 4])
    ),
    "more exposure than users": lambda s: replace(s, exposure=s.exposure + 1000),
    "more eligible than users": lambda s: replace(s, eligible=s.eligible + 1000),
    "another number of targets": lambda s: replace(s, eligible=s.eligible[:1], exposure=s.exposure[:1]),
}
TRAINED = torch.from_numpy(open_fleet(read_settings(node())).trained.lengths)
LENGTHS = {"valid": TRAINED, "test": TRAINED + 1}
SETTINGS = config("train.rounds=2", "eval.every=0")


def lying(change: Callable[[EvaluateSums], EvaluateSums] | None) -> App:
    """Nodes with ``bad`` change their sums, or fail with ``change`` None."""

    def app(message: Message, context: Context) -> Message:
        bad = bool(context.node_config.get("bad", False))
        reply = client_app(message, without(context, "bad"))
        if not bad or message.metadata.message_type != "evaluate":
            return reply
        if change is None:
            raise ZeroDivisionError("no")
        meta = message.content["meta"]
        name, round_ = str(meta["run"]), int(meta["round"])  # type: ignore[arg-type]
        sums = decode_evaluate_sums(reply.content, SumsSpec(name, round_, LENGTHS[str(meta["split"])], 2))
        return Message(encode_evaluate_sums(change(sums), name, round_), reply_to=message)

    return app


NODES = [node("0/2"), node("1/2", bad=True)]


@pytest.fixture(scope="module")
def honest_only(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    watch = Watch()
    out = tmp_path_factory.mktemp("honest") / "run"
    run(SETTINGS, out, NODES, app=lying(None), listeners=[watch])
    return watch


@pytest.mark.parametrize("name", LIES)
def test_impossible_sums_are_left_out(honest_only: Watch, tmp_path: Path, name: str) -> None:
    watch = Watch()
    run(SETTINGS, tmp_path, NODES, app=lying(LIES[name]), listeners=[watch])
    assert watch.evaluations == honest_only.evaluations
    assert {e.devices for e in watch.evaluations} == {DEVICES // 2}


def test_the_sums_of_honest_nodes_are_those_of_one(tmp_path: Path) -> None:
    whole, halves = Watch(), Watch()
    run(SETTINGS, tmp_path / "one", [node()], listeners=[whole])
    run(SETTINGS, tmp_path / "two", NODES, app=lying(lambda s: s), listeners=[halves])
    for one, two in zip(whole.evaluations, halves.evaluations, strict=True):
        assert one.devices == two.devices == DEVICES
        assert two.exposure == pytest.approx(one.exposure, abs=1e-6)
        for group in ("all", "q1", "q2", "q3", "q4"):
            assert two.groups[group] == pytest.approx(one.groups[group], abs=1e-6)


def test_a_lie_that_is_possible_is_bounded_by_the_devices(honest_only: Watch, tmp_path: Path) -> None:
    """A node may claim that all its users are served well; it cannot speak for the others."""

    def boast(sums: EvaluateSums) -> EvaluateSums:
        best = sums.count[:, None].double().expand(-1, len(METRICS))
        return replace(sums, metrics=best.contiguous())

    watch = Watch()
    run(SETTINGS, tmp_path, NODES, app=lying(boast), listeners=[watch])
    told, true = watch.evaluations[-1].groups["all"], honest_only.evaluations[-1].groups["all"]
    assert told["hr@10"] == pytest.approx((true["hr@10"] + 1) / 2)


def test_quartiles_hold_the_same_devices_for_both_splits(tmp_path: Path) -> None:
    counts: dict[str, list[int]] = {}

    def app(message: Message, context: Context) -> Message:
        reply = client_app(message, context)
        if message.metadata.message_type == "evaluate":
            meta = message.content["meta"]
            name, round_ = str(meta["run"]), int(meta["round"])  # type: ignore[arg-type]
            sums = decode_evaluate_sums(reply.content, SumsSpec(name, round_, LENGTHS[str(meta["split"])], 2))
            counts[str(meta["split"])] = sums.count.tolist()
        return reply

    run(SETTINGS, tmp_path, app=app)
    assert counts["valid"] == counts["test"]
    fleet = open_fleet(read_settings(node()))
    lengths = sorted(len(fleet.train(n)) for n in fleet.numbers)
    bounds = [lengths[(len(lengths) - 1) * k // 4] for k in (1, 2, 3)]
    expected = [sum(n <= bounds[0] for n in lengths)]
    expected += [sum(low < n <= high for n in lengths) for low, high in pairwise(bounds)]
    expected += [sum(n > bounds[2] for n in lengths)]
    assert counts["valid"] == [DEVICES, *expected]


def test_a_run_that_nobody_evaluates_fails_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="^nobody was evaluated: no device with at least 3 interactions"):
        run(SETTINGS, tmp_path, [node(bad=True)], app=lying(None))
    assert not (tmp_path / "summary.json").exists()


def test_a_node_that_does_not_answer_holds_up_one_evaluation_and_is_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, set[int]]] = []
    watch = Watch()
    usual = strategy.exchange

    def exchanged(grid: Grid, messages: list[Message], *limits: float, **more: Any) -> Replies:
        if messages[0].metadata.message_type != "evaluate":
            return usual(grid, messages, *limits, **more)
        asked.append((len(messages), {*more["unreliable"]}))
        return usual(grid, messages[: 1 if len(asked) < 3 else 2], *limits, **more)

    monkeypatch.setattr(strategy, "exchange", exchanged)
    run(
        config("train.rounds=4", "eval.every=1"),
        tmp_path / "run",
        [node("0/2"), node("1/2")],
        listeners=[watch],
    )
    silent = asked[1][1]
    assert len(silent) == 1
    assert asked == [(2, set()), (2, silent), (2, silent), (2, set()), (2, set())]
    half = DEVICES // 2
    assert [one.devices for one in watch.evaluations] == [half, half, DEVICES, DEVICES, DEVICES]
