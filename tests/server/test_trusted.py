"""Trusted nodes: the root update of a rule, and no other part in the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from flwr.app import Context, Message
from flwr.common.constant import ErrorCode

from client.app import app as client_app
from common.errors import ConfigError, RunError
from common.updates import DeviceUpdates, onto
from emulation.local_grid import LocalGrid
from server.nodes.roster import Roster
from server.round.pipeline import Pipeline
from server.strategy import RobustStrategy
from tests.server.federation import ITEMS, Watch, config, lines, node, run, same_model
from tests.server.interruption import equal_runs, in_round
from transport.messages import failure

TRUSTED = config("strategy.aggregator=fltrust", "strategy.trusted_nodes=[2]", "wire.dtype=float16")
PUBLIC = node("public", public=6)
NODES = [node(), PUBLIC]


def test_a_rule_without_its_root_is_refused_before_the_run() -> None:
    for pre in ("[]", "[nnm]", "[heat]"):
        with pytest.raises(ConfigError, match=r"'fltrust' needs strategy.trusted_nodes: the ids of nodes"):
            Pipeline.build(config("strategy.aggregator=fltrust", f"strategy.pre={pre}"), ITEMS)


def test_a_trusted_node_takes_no_other_part() -> None:
    grid = LocalGrid(client_app, NODES)
    roster = Roster(10**6, trusted=frozenset({2}))
    roster.refresh(grid, 1)
    alone = Roster(10**6)
    alone.refresh(LocalGrid(client_app, [node()]), 1)
    assert torch.equal(roster.pool.drawable(1)[0], alone.pool.drawable(1)[0])
    assert roster.quartiles() == alone.quartiles()
    assert len(roster.roots[2].devices) == 6
    roster.rest(2, 1)
    assert roster.roots == {}
    roster.refresh(grid, 2)
    assert roster.roots == {}
    roster.refresh(grid, 20)
    assert list(roster.roots) == [2]


def test_the_quota_does_not_cut_what_is_trusted() -> None:
    roster = Roster(3, trusted=frozenset({2}))
    roster.refresh(LocalGrid(client_app, NODES), 1)
    assert roster.pool.count == 3
    assert len(roster.roots[2].devices) == 6


@pytest.mark.parametrize("negatives", ["slice", "full", "device"])
def test_the_root_reaches_the_rule_and_only_the_rule(tmp_path: Path, negatives: str) -> None:
    watch = Watch()
    settings = config(
        "strategy.aggregator=fltrust", "strategy.trusted_nodes=[2]", f"train.negatives={negatives}"
    )
    summary = run(settings, tmp_path, NODES, listeners=[watch])
    assert not any(report.skipped for report in watch.rounds)
    assert all(report.figures["fltrust.trusted"] > 0 for report in watch.rounds)
    assert all(report.figures["asked"] == 16 for report in watch.rounds)
    judged = [line for line in lines(tmp_path, "audit") if line["reason"] != "idle"]
    assert {line["node"] for line in judged} == {1}
    assert summary["evaluated_devices"] == 40


def test_rules_without_a_root_do_not_ask_for_one_and_do_not_change(tmp_path: Path) -> None:
    for name, nodes, more in (("with", NODES, ["strategy.trusted_nodes=[2]"]), ("without", [node()], [])):
        run(config(*more), tmp_path / name, nodes)
    assert same_model(tmp_path / "with", tmp_path / "without")
    traffic = [
        [line.get("bytes_down") for line in lines(tmp_path / d, "metrics")] for d in ("with", "without")
    ]
    assert traffic[0] == traffic[1]


def test_flowers_byte_format_changes_nothing_and_an_interruption_leaves_no_trace(tmp_path: Path) -> None:
    run(TRUSTED, tmp_path / "whole", NODES)
    run(TRUSTED, tmp_path / "bytes", grid=LocalGrid(client_app, NODES, serialise=True))
    assert same_model(tmp_path / "whole", tmp_path / "bytes")
    with pytest.raises(InterruptedError):
        run(TRUSTED, tmp_path / "parts", NODES, listeners=[Watch(in_round(3))])
    run(TRUSTED, tmp_path / "parts", NODES, resume=True)
    equal_runs(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("broken", ["failing", "malformed"])
def test_a_round_without_a_root_is_skipped_not_averaged(tmp_path: Path, broken: str) -> None:
    asked: list[int] = []

    def app(message: Message, context: Context) -> Message:
        reply = client_app(message, context)
        training = message.metadata.message_type == "train"
        if not training or context.node_id != 2:
            return reply
        asked.append(1)
        if len(asked) > 2:
            return reply
        if broken == "failing":
            return failure(message, "asleep", ErrorCode.UNKNOWN)
        reply.content.pop(next(iter(reply.content)))
        return reply

    watch = Watch()
    run(TRUSTED, tmp_path, NODES, app=app, listeners=[watch])
    assert [report.round for report in watch.rounds if report.skipped] == [1, 2]
    assert any(line["node"] == 2 and line["verdict"] == "refused" for line in lines(tmp_path, "audit"))


def test_an_absent_trusted_node_ends_the_wait_with_its_number() -> None:
    settings = config("strategy.aggregator=fltrust", "strategy.trusted_nodes=[77]", "strategy.wait_s=0")
    strategy = RobustStrategy(settings, ITEMS)
    with pytest.raises(RunError, match="no trusted node 77 .* strategy.trusted_nodes"):
        strategy.start(LocalGrid(client_app, NODES))


def test_updates_are_laid_onto_other_items() -> None:
    g = torch.Generator().manual_seed(0)
    updates = DeviceUpdates(
        encoder=torch.randn(2, 3, generator=g),
        rows=torch.randn(2, 3, 4, generator=g),
        items=torch.tensor([2, 5, 9], dtype=torch.int32),
        history=torch.tensor([1, 2], dtype=torch.int32),
        device=torch.tensor([4, 8]),
        touched=torch.tensor([[True, False, True], [False, True, True]]),
    )
    assert onto(updates, updates.items) is updates
    found = onto(updates, torch.tensor([1, 5, 9, 12], dtype=torch.int32))
    expected = torch.zeros(2, 4, 4)
    expected[:, 1:3] = updates.rows[:, 1:]
    assert torch.equal(found.rows, expected)
    assert found.touched is not None
    assert found.touched.tolist() == [[False, False, True, False], [False, True, True, False]]
    whole = onto(replace(updates, touched=None), torch.tensor([5, 6], dtype=torch.int32))
    assert whole.touched is not None
    assert whole.touched.tolist() == [[True, False]] * 2
    assert torch.equal(found.device, updates.device)
