"""Malicious nodes as processes: a flood of broken replies, replies held back, and attacks by the calendar."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, MessageType
from safetensors.torch import load_file

from attacks import ATTACKS
from attacks.app import app as client_app
from experiments.deployed import Plan
from tests.deployment.federation import (
    Place,
    assert_same_run,
    audit_of,
    devices_of,
    in_this_process,
    rounds,
)

pytestmark = pytest.mark.deployment
REASONS = {
    "nan": "not_finite",
    "inf": "not_finite",
    "wrong_keys": "missing",
    "wrong_shape": "shape",
    "wrong_dtype": "dtype",
    "oversize": "size",
    "stale_round": "stale",
    "replay": "stale",
    "huge_claim": "history",
}
CONNECTED = r"(?m)^(\w+) node (\d+) is connected"
LATE = "'no reply by the deadline'"


def without_the_flood(message: Message, context: Context) -> Message:
    """The ClientApp in a world where malicious nodes send only what of their replies is honest."""
    name = context.node_config.get("attack")
    if message.metadata.message_type != MessageType.TRAIN or name is None:
        return client_app(message, context)
    first = "asked" not in context.state
    context.state["asked"] = ConfigRecord()
    if name == "huge_claim" or (name == "replay" and first):
        own = {key: context.node_config[key] for key in ("path", "repeatable", "seed")}
        return client_app(message, Context(context.run_id, context.node_id, own, context.state, {}))
    raise RuntimeError("nothing")


def test_a_flood_of_broken_replies_costs_the_honest_nothing(place: Place) -> None:
    assert {name for name, rule in ATTACKS.items() if rule.kind == "protocol"} == {
        *REASONS,
        "slow_reply",
        "lying_evaluation",  # no reply to training: tests/server/test_lying_evaluation.py
    }
    made = place.plan(3, len(REASONS), "train.rounds=8", "attack.name=nan", "strategy.aggregator=mean")
    evil = [{**node, "attack": name} for node, name in zip(made.nodes[3:], REASONS, strict=True)]
    run = Plan([*made.nodes[:3], *evil], made.config)
    for node in run.nodes[:3]:
        place.local.warm_node(node)
    command = [sys.executable, "-m", "tests.deployment.sybils", place.local.fleet, json.dumps(evil)]
    sybils = place.local.start("sybils", command)
    out, reference = place.folder / "grpc", place.folder / "local"
    place.run(run, out)

    attack = {int(number): name for name, number in re.findall(CONNECTED, sybils.text())}
    audit = audit_of(out)
    assert {e["node"] for e in audit} >= set(attack)
    for node, name in attack.items():
        own = [e for e in audit if e["node"] == node]
        told = {(e["verdict"], e["reason"]) for e in own if e["reason"] != "idle"}
        if name == "huge_claim":
            assert told == {("clipped", "history")}, name
            continue
        first = own[0]["round"]  # what is replayed was once honest
        assert told - ({("admitted", "")} if name == "replay" else set()) == {("refused", REASONS[name])}, (
            name
        )
        assert not [e for e in own if e["verdict"] == "admitted" and e["round"] > first], name
    mine = set().union(*devices_of(run)[:3])
    for line in rounds(out):
        here = [e for e in audit if e["round"] == line["round"] and e["device"] in mine]
        assert here
        assert {(e["verdict"], e["reason"]) for e in here} <= {("admitted", ""), ("idle", "idle")}
        assert not line["skipped"]
    in_this_process(run, place.data.num_items, reference, without_the_flood)
    models = [load_file(folder / "model.safetensors") for folder in (out, reference)]
    for name, tensor in models[0].items():
        assert tensor.isfinite().all()
        print(f"\n{name}: off by {float((tensor - models[1][name]).abs().max()):.3g}")
        assert (tensor - models[1][name]).abs().max() <= 1e-6, name


def test_a_node_that_holds_its_reply_costs_one_deadline_and_then_rests(place: Place) -> None:
    deadline = 3.0
    attack = ("attack.name=slow_reply", "attack.params={seconds: 60}")
    run = place.plan(2, 1, "train.rounds=8", f"strategy.deadline_s={deadline}", *attack)
    nodes = [place.local.warm_node(node) for node in run.nodes]
    place.run(run, place.folder / "out")
    nodes[-1].kill()  # it is asleep and takes no SIGTERM
    audit, told = audit_of(place.folder / "out"), rounds(place.folder / "out")
    slow = set(devices_of(run)[2])
    late = [(e["round"], e["reason"], e["detail"]) for e in audit if e["detail"] == LATE]
    assert late == [(1, "failed", LATE)]
    silent = next(e["node"] for e in audit if e["detail"] == LATE)
    assert not [e for e in audit if e["device"] in slow or (e["node"] == silent and e["round"] > 1)]
    seconds = [line["seconds"] for line in told]
    print(f"\nseconds a round, one node asleep: {[round(s, 2) for s in seconds]}")
    assert deadline <= seconds[0] < deadline + 2
    assert max(seconds[1:5]) < deadline  # nobody waits for it
    assert seconds[5] < deadline + 2  # asked whether it is back: it is not
    assert max(seconds[6:]) < deadline
    assert [line["round"] for line in told if line["skipped"]] == []


def test_an_attack_by_the_calendar_leaves_the_other_rounds_honest(place: Place) -> None:
    calendar = ("attack.start_round=3", "attack.period=3", "attack.active=1")
    settings = ("train.rounds=8", "train.negatives=full", "attack.name=nan", *calendar)
    run = place.plan(2, 1, *settings)
    for node in run.nodes:
        place.local.warm_node(node)
    out, same, clean = (place.folder / name for name in ("grpc", "local", "clean"))
    place.run(run, out)
    in_this_process(run, place.data.num_items, same)
    assert_same_run(out, same)
    paths = [{"path": node["path"]} for node in run.nodes]
    in_this_process(Plan(paths, run.config), place.data.num_items, clean)
    devices = set(devices_of(run)[2])
    for round_ in range(1, 9):
        found, usual = verdicts(out, round_), verdicts(clean, round_)
        if round_ in (3, 6):
            usual = {d: ("refused", "not_finite") if d in devices else v for d, v in usual.items()}
        assert found == usual, round_


def verdicts(out: Path, round_: int) -> dict[int, tuple[str, str]]:
    """Device -> what became of it."""
    found = [e for e in audit_of(out) if e["round"] == round_]
    return {e["device"]: (e["verdict"], e["reason"]) for e in found}
