"""Rounds that go wrong are skipped, nodes that go silent rest, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message

from client.app import app as client_app
from common.errors import CheckpointError, RunError
from emulation.local_grid import LocalGrid
from server.nodes.silence import RETRY_ROUNDS
from server.round.admission import Admitted
from server.round.pipeline import Pipeline, Step
from server.round.state import ServerState
from server.strategy import RobustStrategy
from tests.server.federation import (
    ITEMS,
    Watch,
    config,
    faulty,
    lines,
    node,
    refusals,
    run,
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


def crash(task: Message, reply: Message) -> Message:
    raise ZeroDivisionError("no")


def in_rounds(*rounds: int) -> Callable[[Message, Message], Message]:
    def fault(task: Message, reply: Message) -> Message:
        if task.content["meta"]["round"] in rounds:
            raise ZeroDivisionError("no")
        return reply

    return fault


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
    assert line["why"] == "0 updates, and strategy.min_replies is 1; refused: 1 failed"
    assert line["admitted"] == 0


def test_a_rule_that_fails_on_what_was_admitted_loses_the_round_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pipeline.step

    def step(self: Pipeline, state: ServerState, admitted: Admitted, round_: int, *more: Any) -> Step:
        if round_ == 2:
            raise IndexError("what nobody thought of")
        return whole(self, state, admitted, round_, *more)

    monkeypatch.setattr(Pipeline, "step", step)
    watch = Watch()
    run(config(), tmp_path, listeners=[watch])
    assert [r.why for r in watch.rounds] == ["", "the rule failed: IndexError", "", ""]


def test_saved_state_that_a_rule_cannot_use_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: Any) -> Step:
        raise CheckpointError("it is an earlier version's")

    monkeypatch.setattr(Pipeline, "step", step)
    with pytest.raises(CheckpointError, match="earlier version's"):
        run(config(), tmp_path)


def test_a_run_in_which_nobody_trains_fails_with_the_reason_and_moves_nothing(tmp_path: Path) -> None:
    watch = Watch()
    with pytest.raises(RunError, match="^nobody trained: all 4 rounds were skipped, .*refused: 1 failed$"):
        run(config(), tmp_path, [node(bad=True)], app=faulty(crash), listeners=[watch])
    start = RobustStrategy(config(), ITEMS).state.model
    assert torch.equal(watch.states[-1].model.encoder, start.encoder)
    assert torch.equal(watch.states[-1].model.table, start.table)
    assert not (tmp_path / "summary.json").exists()


def test_a_run_whose_model_stops_being_finite_ends_with_the_reason(tmp_path: Path) -> None:
    settings = config("strategy.aggregator=mean", "strategy.lr=1e30")
    with pytest.raises(
        RunError, match=r"^the model is not finite after round 1: .*strategy\.lr \(1e\+30 now"
    ):
        run(settings, tmp_path)


@pytest.mark.parametrize(("least", "skipped"), [(1, False), (5, False), (100, True)])
def test_a_round_needs_min_replies(tmp_path: Path, least: int, skipped: bool) -> None:
    watch = Watch()
    with pytest.raises(RunError, match="nobody trained") if skipped else nullcontext():
        run(config(f"strategy.min_replies={least}"), tmp_path, listeners=[watch])
    assert {r.skipped for r in watch.rounds} == {skipped}


def test_too_few_devices_for_a_rule_skip_the_round(tmp_path: Path) -> None:
    def lost(message: Message) -> bool:
        return message.metadata.message_type == "train" and message.metadata.dst_node_id == 2

    watch = Watch()
    settings = config(
        "strategy.aggregator=krum",
        "strategy.byzantine=3",
        "strategy.deadline_s=3",
        "train.devices_per_round=10",
        "train.rounds=1",
    )
    with pytest.raises(RunError, match="nobody trained: the only round was skipped: krum"):
        run(settings, tmp_path, grid=Deaf(lost, 2), listeners=[watch])
    assert [r.skipped for r in watch.rounds] == [True]
    admitted = int(watch.rounds[0].figures["admitted"])
    assert 0 < admitted < 9
    (line,) = [line for line in lines(tmp_path, "metrics") if "skipped" in line]
    assert (
        line["why"] == f"krum against 3 byzantine devices needs at least 9 updates, this round has {admitted}"
    )
    taken = [a for a in lines(tmp_path, "audit") if a["verdict"] == "admitted"]
    assert len(taken) == admitted
    assert not any("weight" in a for a in taken)
    assert torch.equal(watch.states[0].model.table, RobustStrategy(settings, ITEMS).state.model.table)


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
    audit = lines(tmp_path, "audit")
    assert len({(a["node"], a["device"]) for a in audit if a["device"] is not None}) == 8
    told = [(a["round"], a["node"], a["verdict"], a["detail"]) for a in audit if a["reason"] == "quota"]
    text = "claims 20 devices, cut to 4 (strategy.quota)"
    assert told == [(1, 1, "refused", text), (1, 2, "refused", text)]  # once, not in every round


def test_a_node_within_its_quota_is_not_told_of(tmp_path: Path) -> None:
    run(config("strategy.quota=20"), tmp_path, [node("0/2"), node("1/2")])
    assert not [a for a in lines(tmp_path, "audit") if a["reason"] == "quota"]


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
