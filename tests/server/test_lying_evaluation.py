"""Nodes that lie about how well they are served: refused, cut, or outvoted; and what the audit says of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Context, Message, MessageType, RecordDict

import server.evaluation.collection
from attacks import build_attack
from attacks.app import app as client_app
from common.errors import RunError
from common.metrics import rank_values
from common.response import kept
from common.tasks import EXPOSURES, GROUPS, METRICS, Enrolment, EvaluateSums
from common.wire import encode_evaluate_sums
from common.wire.replies import LATE
from emulation.local_grid import LocalGrid
from server.app import serve
from server.evaluation.collection import Collected, collect
from server.evaluation.over_nodes import over_nodes
from server.nodes.roster import Roster
from tests.server.federation import DEVICES, Watch, config, evaluated, node, run
from transport.messages import failure

SETTINGS = config("train.rounds=2", "eval.every=0")
PARTS = 8
MANY = "devices=160,items=200,length=8"
"""A log in which a perfect node of 20 users is no chance."""


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Flower's logger does not propagate."""
    logger = logging.getLogger("flwr")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def federation(params: str | None) -> list[dict[str, bool | int | float | str]]:
    """Eight nodes, the last of which lies with ``params``, or abstains where they are None."""
    last = {"attack": "lying_evaluation", "params": params} if params else {"attack": "control"}
    return [node(f"{i}/{PARTS}") for i in range(PARTS - 1)] + [node(f"{PARTS - 1}/{PARTS}", **last)]


def test_a_lie_moves_the_mean_by_its_share_and_the_median_to_the_next_honest_node(
    tmp_path: Path, warned: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, lied = Watch(), Watch()
    seen: list[Mapping[int, EvaluateSums]] = []

    def noted(parts: Mapping[int, EvaluateSums]) -> dict[str, Any]:
        seen.append(parts)
        return over_nodes(parts)

    monkeypatch.setattr(server.evaluation.collection, "over_nodes", noted)
    summaries = []
    for params, watch in ((None, honest), ("{}", lied)):
        nodes = [{**one, "path": MANY} for one in federation(params)]
        summaries.append(
            serve(LocalGrid(client_app, nodes), SETTINGS, 200, tmp_path / f"{params}", False, [watch])
        )
        assert ("far outside" in warned.text) == (params is not None)
    (_, summary), true, told = summaries, honest.evaluations[-1], lied.evaluations[-1]
    share = 1 / PARTS
    for name in METRICS:
        moved = told.groups["all"][name] - true.groups["all"][name]
        assert moved == pytest.approx(share * (1 - true.groups["all"][name]))
    assert (true.over_nodes["nodes"], told.over_nodes["nodes"]) == (PARTS - 1, PARTS)
    for place, name in enumerate(METRICS):
        ordered = sorted(float(p.metrics[0, place] / p.count[0]) for p in seen[1].values() if p.count[0])
        middle = true.over_nodes["median"][name]
        assert middle == pytest.approx(ordered[3])
        assert middle <= told.over_nodes["median"][name] <= ordered[4]
        assert told.over_nodes["trimmed_mean"][name] <= ordered[-1] + 1e-12  # the honest ones
    assert summary["test_over_nodes"] == told.over_nodes
    assert summary["test"] == told.groups["all"]
    assert "node 8 is far outside: " in warned.text
    assert {f"node {i} is" in warned.text for i in range(1, 8)} == {False}


def test_more_devices_than_enrolled_are_refused(tmp_path: Path) -> None:
    honest, lied = Watch(), Watch()
    run(SETTINGS, tmp_path / "honest", federation(None), listeners=[honest])
    run(SETTINGS, tmp_path / "lied", federation('{"times": 1000}'), listeners=[lied])
    for one, other in zip(honest.evaluations, lied.evaluations, strict=True):
        for group, values in one.groups.items():
            assert other.groups[group] == pytest.approx(values)  # sums may be added in another order
        assert other.devices == DEVICES - DEVICES // PARTS
    told = [(e["round"], e["node"], e["evaluation"], e["reason"]) for e in evaluated(tmp_path / "lied")]
    assert (2, 8, "test", "range") in told
    assert (2, 7, "test", "") in told
    assert len(told) == 2 * PARTS  # valid and test


def test_it_can_hide_its_exposure_alone(tmp_path: Path) -> None:
    shown, hidden = Watch(), Watch()
    run(SETTINGS, tmp_path / "shown", federation("{}"), listeners=[shown])
    run(SETTINGS, tmp_path / "hidden", federation('{"hide": true}'), listeners=[hidden])
    assert shown.evaluations[-1].groups == hidden.evaluations[-1].groups
    assert shown.evaluations[-1].exposure["er@20"] > hidden.evaluations[-1].exposure["er@20"] > 0


def test_parameters_that_are_none() -> None:
    with pytest.raises(Exception, match="times must be at least 1"):
        build_attack("lying_evaluation", {"times": 0})


def sums(n: int, rank: int = 0, epsilon: float = 0.0) -> EvaluateSums:
    """``n`` devices of one rank, the targets of the tiny run known to all."""
    metrics = torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64)
    metrics[0] = n * rank_values(torch.tensor([rank]), torch.tensor([rank]))[0]
    count = torch.tensor([n, 0, 0, 0, 0])
    none = torch.zeros(2, dtype=torch.int64)
    return EvaluateSums(metrics, count, torch.zeros(2, len(EXPOSURES)), none, epsilon=epsilon)


def reply(node_: int, told: EvaluateSums | str) -> Message:
    """What node ``node_`` answers in round 5, or the error that it raises."""
    request = Message(RecordDict(), dst_node_id=node_, message_type=MessageType.EVALUATE)
    request.metadata.__dict__["_message_id"] = "m"
    if isinstance(told, str):
        return failure(request, told)
    return Message(encode_evaluate_sums(told, "r", 5), reply_to=request)


def collected(told: dict[int, EvaluateSums | str], quota: int = 100) -> Collected:
    """What the server makes of it; every node has enrolled 40 devices with a history of 6, 6, 7, 8, …"""
    lengths = 6 + torch.arange(40, dtype=torch.int32)
    nodes = {n: Enrolment(torch.arange(40 * n, 40 * n + 40), lengths) for n in (1, 2, 3)}
    roster = Roster(quota, nodes=nodes)
    return collect([reply(n, t) for n, t in told.items()], SETTINGS, "r", 5, roster, "valid")


def test_a_node_counts_for_no_more_than_the_allowance() -> None:
    honest: dict[int, EvaluateSums | str] = {1: sums(10, 300), 2: sums(10, 300)}
    whole, cut = (collected({**honest, 3: sums(40)}, quota).evaluation for quota in (40, 10))
    assert whole is not None
    assert cut is not None
    assert whole.groups["all"]["hr@10"] == pytest.approx(40 / 60)
    assert cut.groups["all"]["hr@10"] == pytest.approx(10 / 30)
    assert (whole.devices, cut.devices) == (60, 30)
    lines = collected({**honest, 3: sums(40)}, 10).audit
    assert [(e["node"], e["verdict"], e["reason"]) for e in lines] == [
        (1, "admitted", ""),
        (2, "admitted", ""),
        (3, "clipped", "quota"),
    ]
    assert lines[2]["detail"] == "counts as 0.25 times its 40 devices"


def test_an_answer_by_chance_counts_as_what_it_can_move() -> None:
    """At ε = 3 one such answer moves the mean like seven exact ones, and takes seven of the allowance."""
    exact: dict[int, EvaluateSums | str] = {1: sums(40, 300), 2: sums(40, 300)}
    free, cut = (collected({**exact, 3: sums(4, 0, 3.0)}, quota) for quota in (100, 40))
    assert cut.audit[2]["verdict"] == "admitted"  # 28 of 40
    tight = collected({**exact, 3: sums(4, 0, 3.0)}, 14)
    assert free.evaluation is not None
    assert tight.evaluation is not None
    share = kept(3.0)
    hits = 4 * (1 - (1 - share) * 10 / 21) / share
    assert free.evaluation.groups["all"]["hr@10"] == pytest.approx(hits / 84)
    assert free.evaluation.randomised == 4
    assert free.evaluation.widened > 1
    weight, small = 14 * share / 4, 14 / 40
    assert tight.audit[2]["verdict"] == "clipped"
    told = tight.evaluation.groups["all"]["hr@10"]
    assert told == pytest.approx(weight * hits / (weight * 4 + 2 * small * 40))


def test_every_node_asked_has_a_line() -> None:
    bad = replace(sums(10), count=torch.tensor([41, 0, 0, 0, 0]))
    found = collected({1: "ZeroDivisionError: no\x1b[2J", 2: bad})
    assert found.evaluation is None
    told = [(e["node"], e["verdict"], e["reason"], e["evaluation"]) for e in found.audit]
    assert told == [
        (1, "refused", "failed", "valid"),
        (2, "refused", "range", "valid"),
        (3, "refused", "failed", "valid"),
    ]
    assert found.audit[0]["detail"] == "'ZeroDivisionError: no\\x1b[2J'"
    assert found.audit[2]["detail"] == LATE


def test_a_second_reply_of_a_node_and_those_of_strangers_do_not_count() -> None:
    lengths = torch.full((40,), 6, dtype=torch.int32)
    roster = Roster(100, nodes={1: Enrolment(torch.arange(40), lengths)})
    replies = [reply(1, sums(10, 300)), reply(1, sums(40)), reply(9, sums(40))]
    found = collect(replies, SETTINGS, "r", 5, roster, "valid")
    assert found.evaluation is not None
    assert found.evaluation.groups["all"]["hr@10"] == 0
    assert [e["node"] for e in found.audit] == [1]


def test_quartiles_made_with_other_bounds_are_left_out_and_the_rest_counts() -> None:
    lengths = torch.tensor([2] * 20 + [4] * 20, dtype=torch.int32)
    roster = Roster(100, nodes={n: Enrolment(torch.arange(40), lengths) for n in (1, 2)})
    assert roster.quartiles() == (2, 2, 4)

    def split_at(bounds: tuple[int, int, int], rank: int) -> EvaluateSums:
        told = sums(40, rank)
        told.metrics[1], told.metrics[3] = told.metrics[0] / 2, told.metrics[0] / 2
        return replace(told, count=torch.tensor([40, 20, 0, 20, 0]), quartiles=bounds)

    replies = [reply(1, split_at((2, 2, 4), 300)), reply(2, split_at((3, 3, 9), 0))]
    found = collect(replies, SETTINGS, "r", 5, roster, "valid").evaluation
    assert found is not None
    assert found.groups["all"]["hr@10"] == 0.5
    assert found.groups["q1"]["hr@10"] == found.groups["q3"]["hr@10"] == 0
    roster.nodes[3] = Enrolment(torch.arange(40), lengths + 10)
    assert roster.quartiles() == (2, 2, 4)  # as long as the run lasts


def test_claims_of_the_longest_history_do_not_overflow() -> None:
    longest = torch.full((40,), 2**31 - 1, dtype=torch.int32)
    roster = Roster(100, nodes={1: Enrolment(torch.arange(40), longest)})
    told = replace(sums(40), quartiles=(0, 0, 2**31), count=torch.tensor([40, 0, 0, 40, 0]))
    told.metrics[3] = told.metrics[0]
    found = collect([reply(1, told)], SETTINGS, "r", 5, roster, "test").evaluation
    assert found is not None


def test_what_nobody_could_use_is_in_the_audit_too(tmp_path: Path) -> None:
    def app(message: Message, context: Context) -> Message:
        if message.metadata.message_type == MessageType.EVALUATE:
            raise ZeroDivisionError("no")
        return client_app(message, context)

    with pytest.raises(RunError, match="nobody was evaluated"):
        run(SETTINGS, tmp_path, app=app)
    assert [(e["evaluation"], e["reason"]) for e in evaluated(tmp_path)] == [
        ("valid", "failed"),
        ("test", "failed"),
    ]
