"""The Strategy moves messages, skips bad rounds and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy

from client.app import app as client_app
from common.config import RunConfig
from common.errors import ConfigError, RunError
from common.seeding import generator
from common.tasks import GlobalModel
from server.local_grid import LocalGrid
from server.model_record import from_record, to_record
from server.roster import RETRY_ROUNDS
from server.strategy import RobustStrategy
from tests.server.federation import (
    ITEMS,
    Watch,
    config,
    faulty,
    lines,
    model,
    node,
    refusals,
    run,
    same_model,
)


class Deaf(LocalGrid):
    """A grid that loses some messages on the way, so that the sender never hears of them."""

    def __init__(self, lost: Callable[[Message], bool], nodes: int) -> None:
        super().__init__(client_app, [node(f"{i}/{nodes}") for i in range(nodes)])
        self.lost = lost

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        kept = list(messages)
        ids = super().push_messages(kept)
        for number, message in zip(ids, kept, strict=True):
            if self.lost(message):
                self._waiting.pop(number)
        return ids


def strategy(settings: RunConfig, watch: Watch | None = None) -> RobustStrategy:
    return RobustStrategy(settings, ITEMS, [watch or Watch()])


def grid(nodes: int = 1) -> LocalGrid:
    return LocalGrid(client_app, [node(f"{i}/{nodes}") for i in range(nodes)])


def crash(task: Message, reply: Message) -> Message:
    raise ZeroDivisionError("no")


def in_rounds(*rounds: int) -> Callable[[Message, Message], Message]:
    def fault(task: Message, reply: Message) -> Message:
        if task.content["meta"]["round"] in rounds:
            raise ZeroDivisionError("no")
        return reply

    return fault


def test_it_is_one_of_flowers_strategies() -> None:
    assert isinstance(strategy(config()), Strategy)


def test_flowers_start_runs_it() -> None:
    watch = Watch()
    one = strategy(config(), watch)
    begin = GlobalModel(
        torch.randn(one.pipeline.layout.total, generator=generator(0, "a")) / 10,
        torch.randn(ITEMS + 1, 4, generator=generator(0, "b")) / 10,
    )
    central: list[int] = []

    def evaluate(round_: int, arrays: ArrayRecord) -> MetricRecord:
        central.append(round_)
        return MetricRecord({"norm": float(from_record(arrays).encoder.norm())})

    result = one.start(grid(), to_record(begin), num_rounds=3, timeout=20, evaluate_fn=evaluate)
    assert [r.round for r in watch.rounds] == [1, 2, 3]
    assert sorted(result.train_metrics_clientapp) == [1, 2, 3]
    assert result.train_metrics_clientapp[1]["asked"] == 16
    assert sorted(result.evaluate_metrics_clientapp) == [2, 3]
    assert 0 <= float(result.evaluate_metrics_clientapp[3]["ndcg@10"]) <= 1  # type: ignore[arg-type]
    assert central == [1, 2, 3]
    final = from_record(result.arrays)
    assert torch.equal(final.table, one.state.model.table)
    gap = (final.table - begin.table).abs().max()
    assert 0 < gap < 0.1  # three small steps away from the arrays that were given


def test_zero_rounds_are_zero_rounds() -> None:
    watch = Watch()
    strategy(config(), watch).start(grid(), num_rounds=0)
    assert watch.rounds == []
    assert [e.split for e in watch.evaluations] == ["test"]


def test_initial_arrays_must_fit() -> None:
    one = strategy(config())
    wrong = GlobalModel(one.state.model.encoder, torch.zeros(1))
    with pytest.raises(ConfigError, match=r"initial table: torch.float32 \[1\]; expected .*\[31, 4\]"):
        one.start(grid(), to_record(wrong))
    assert one.state.round == 0


def test_a_round_without_a_good_reply_is_skipped(tmp_path: Path) -> None:
    watch = Watch()
    run(config(), tmp_path, [node(bad=True)], app=faulty(in_rounds(2)), listeners=[watch])
    assert [(r.round, r.skipped) for r in watch.rounds] == [(1, False), (2, True), (3, False), (4, False)]
    before, after = watch.states[0], watch.states[1]
    assert after.round == 2
    assert {k: v for k, v in after.tensors().items() if not torch.equal(v, before.tensors()[k])} == {}
    assert refusals(tmp_path) == {(2, "failed")}
    (line,) = [line for line in lines(tmp_path, "metrics") if line["round"] == 2 and "split" not in line]
    assert line["skipped"] is True
    assert line["admitted"] == 0


def test_a_run_of_bad_rounds_ends_where_it_began(tmp_path: Path) -> None:
    summary = run(config(), tmp_path, [node(bad=True)], app=faulty(crash))
    start = strategy(config()).state.model
    assert torch.equal(model(tmp_path)["encoder"], start.encoder)
    assert torch.equal(model(tmp_path)["item_table"], start.table)
    assert summary["test"]["hr@10"] >= 0  # it still evaluates


@pytest.mark.parametrize(("least", "skipped"), [(1, False), (5, False), (100, True)])
def test_a_round_needs_min_replies(tmp_path: Path, least: int, skipped: bool) -> None:
    watch = Watch()
    run(config(f"strategy.min_replies={least}"), tmp_path, listeners=[watch])
    assert {r.skipped for r in watch.rounds} == {skipped}


def test_too_few_devices_for_a_rule_skip_the_round(tmp_path: Path) -> None:
    watch = Watch()
    settings = config("strategy.aggregator=krum", "train.devices_per_round=2", "train.rounds=2")
    run(settings, tmp_path, listeners=[watch])
    assert [r.skipped for r in watch.rounds] == [True, True]
    assert torch.equal(model(tmp_path)["item_table"], strategy(settings).state.model.table)


def test_a_silent_node_rests_and_comes_back(tmp_path: Path) -> None:
    def lost(message: Message) -> bool:
        return (
            message.metadata.message_type == "train"
            and message.metadata.dst_node_id == 2
            and message.content["meta"]["round"] == 1
        )

    rounds = RETRY_ROUNDS + 3
    settings = config(f"train.rounds={rounds}", "strategy.deadline_s=0.3", "eval.every=0")
    watch = Watch()
    run(settings, tmp_path, grid=Deaf(lost, 2), listeners=[watch])
    audit = lines(tmp_path, "audit")
    assert [a["detail"] for a in audit if a["reason"] == "failed"] == ["'no reply by the deadline'"]
    heard = {r: {a["node"] for a in audit if a["round"] == r} for r in range(1, rounds + 1)}
    assert heard[1] == {1, 2}
    for round_ in range(2, 1 + RETRY_ROUNDS):
        assert heard[round_] == {1}
    assert heard[1 + RETRY_ROUNDS] == {1, 2}
    assert not any(r.skipped for r in watch.rounds)


def test_too_few_nodes_end_the_run_with_their_number(tmp_path: Path) -> None:
    settings = config("strategy.wait_nodes=3", "strategy.wait_s=0.5")
    with pytest.raises(RunError, match=r"2 of 3 nodes after 0\.5 s; see strategy\.wait_nodes"):
        run(settings, tmp_path, [node("0/2"), node("1/2")])


def test_nodes_that_fail_to_enrol_are_no_nodes(tmp_path: Path) -> None:
    settings = config("strategy.wait_nodes=2", "strategy.wait_s=0.5")
    with pytest.raises(RunError, match="1 of 2 nodes"):
        run(settings, tmp_path, [node(), node("nonsense")])


def test_oversampling_asks_more_devices(tmp_path: Path) -> None:
    watch = Watch()
    run(config("strategy.oversample=1.5"), tmp_path, listeners=[watch])
    assert {r.figures["asked"] for r in watch.rounds} == {24}


def test_the_quota_bounds_a_node(tmp_path: Path) -> None:
    watch = Watch()
    settings = config("strategy.quota=4")
    run(settings, tmp_path, [node("0/2"), node("1/2")], listeners=[watch])
    assert {r.figures["asked"] for r in watch.rounds} == {8}
    assert len({(a["node"], a["device"]) for a in lines(tmp_path, "audit")}) == 8


def test_audit_lines_have_the_weights_of_the_rule(tmp_path: Path) -> None:
    run(config("strategy.aggregator=geometric_median"), tmp_path)
    taken = [a for a in lines(tmp_path, "audit") if a["verdict"] in ("admitted", "clipped")]
    assert taken
    for round_ in range(1, 5):
        found = [a["weight"] for a in taken if a["round"] == round_]
        assert sum(found) == pytest.approx(1, abs=1e-5)
        assert all(0 <= w <= 1 for w in found)
        assert len(set(found)) > 1
    assert not any("weight" in a for a in lines(tmp_path, "audit") if a["verdict"] == "refused")


def test_full_and_device_negatives_run_too(tmp_path: Path) -> None:
    for name in ("full", "device"):
        watch = Watch()
        summary = run(config(f"train.negatives={name}"), tmp_path / name, listeners=[watch])
        assert not any(r.skipped for r in watch.rounds)
        assert f"negatives {name}" in summary["protocol"]
    assert not same_model(tmp_path / "full", tmp_path / "device")


def test_a_reply_that_nobody_asked_for_is_ignored() -> None:
    one = strategy(config())
    net = grid()
    one.wait_for_nodes(net)
    messages = one.configure_train(1, to_record(one.state.model), ConfigRecord(), net)
    (reply,) = net.send_and_receive(messages)
    stranger = Message(reply.content, reply_to=messages[0])
    stranger.metadata.__dict__["_src_node_id"] = 77
    arrays, metrics = one.aggregate_train(1, [stranger])
    assert arrays is None
    assert metrics is not None
    assert metrics["admitted"] == 0


def test_sums_that_nobody_asked_for_are_ignored() -> None:
    one, net = strategy(config()), grid()
    one.wait_for_nodes(net)
    messages = one.configure_evaluate(0, to_record(one.state.model), ConfigRecord(), net)
    (reply,) = net.send_and_receive(messages)
    stranger = Message(reply.content, reply_to=messages[0])
    stranger.metadata.__dict__["_src_node_id"] = 77
    assert one.aggregate_evaluate(0, [stranger]) is None
    assert one.aggregate_evaluate(0, [stranger, reply]) == one.aggregate_evaluate(0, [reply]) is not None


def test_the_record_of_a_model_is_a_copy() -> None:
    start = strategy(config()).state.model
    found = from_record(to_record(start))
    assert torch.equal(found.encoder, start.encoder)
    found.encoder.add_(1)
    assert not torch.equal(found.encoder, start.encoder)
    assert isinstance(to_record(start)["table"], Array)
