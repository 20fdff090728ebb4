"""The real app on real processes: the same model as in one process, dead nodes, poison, and its speed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pytest
from safetensors.torch import load_file

from experiments.deployed import Plan
from experiments.processes import wait_until
from tests.deployment.federation import (
    RUN_S,
    Place,
    assert_same_run,
    audit_of,
    devices_of,
    federation,
    in_this_process,
    lines,
    rounds,
)

pytestmark = pytest.mark.deployment


def test_grpc_and_one_process_end_with_the_same_model_and_rounds_are_quick(place: Place) -> None:
    run = place.plan(3, 1, "train.rounds=8", "attack.name=explicit_boost", "seed=3")
    nodes = [place.local.warm_node(node) for node in run.nodes]
    out, reference, other = (place.folder / name for name in ("grpc", "local", "seed"))
    place.run(run, out)

    in_this_process(run, place.data.num_items, reference)
    assert_same_run(out, reference)
    assert all(line["admitted"] == 40 for line in rounds(out))
    changed = Plan(run.nodes, run.config.model_copy(update={"seed": 4}))
    in_this_process(changed, place.data.num_items, other)
    with pytest.raises(AssertionError, match="encoder"):  # the comparison can fail
        assert_same_run(out, other)

    seconds = [line["seconds"] for line in rounds(out)]
    print(f"\nseconds a round, 4 warm nodes: {[round(s, 2) for s in seconds]}, median {median(seconds):.2f}")
    assert len(seconds) == 8
    assert median(seconds) <= 1.5
    assert all(node.popen.poll() is None for node in nodes)


def test_several_slices_over_grpc_end_with_the_model_of_one_process(place: Place) -> None:
    slices = ("train.slices=4", "train.slice_size=15", "strategy.aggregator=mean")
    run = place.plan(2, 1, "train.rounds=3", "attack.name=label_to_target", *slices)
    nodes = [place.local.warm_node(node) for node in run.nodes]
    out, reference = place.folder / "grpc", place.folder / "local"
    place.run(run, out)
    in_this_process(run, place.data.num_items, reference)
    assert_same_run(out, reference)
    told = rounds(out)
    assert all(line["admitted"] + line["idle"] == 40 for line in told)
    assert all(1 < line["slices_trained"] <= 4 for line in told)
    assert all(node.popen.poll() is None for node in nodes)


def test_a_node_with_more_to_send_than_the_superlink_takes_is_asked_in_parts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 devices of 34 KB, and a SuperLink that takes 1 MiB a reply: its ServerApp plans with that."""
    monkeypatch.setenv("FEDSIEVE_FLEET_REPLY_MB", "1")
    with federation(place.folder / "narrow") as narrow:
        parts = narrow.plan(1, 0, "train.rounds=2", "model.dim=32", "strategy.deadline_s=20")
        narrow.local.warm_node(parts.nodes[0])
        out, reference = narrow.folder / "parts", narrow.folder / "local"
        narrow.run(parts, out)
        in_this_process(parts, narrow.data.num_items, reference)
        assert_same_run(out, reference)
        assert [(line["admitted"], line["nodes_answered"]) for line in rounds(out)] == [(40, 1), (40, 1)]


def test_stock_nodes_end_with_the_same_model(place: Place) -> None:
    run = place.plan(1, 1, "train.rounds=2", "attack.name=explicit_boost")
    for node in run.nodes:
        place.local.stock_node(node)
    out, reference = place.folder / "grpc", place.folder / "local"
    place.run(run, out)
    in_this_process(run, place.data.num_items, reference)
    assert_same_run(out, reference)
    refused = [e for e in lines(out / "audit.jsonl") if "evaluation" in e and e["verdict"] != "admitted"]
    assert not refused  # the sums of a node that abstains are zeros in several arrays of one size
    seconds = [line["seconds"] for line in rounds(out)]
    print(f"\nseconds a round, 2 stock nodes: {[round(s, 2) for s in seconds]}")


def test_code_rows_end_with_the_same_model_over_grpc(place: Place) -> None:
    codes = ("model.code_books=2", "model.code_rows=31")
    run = place.plan(2, 1, "train.rounds=3", "attack.name=explicit_boost", *codes)
    for node in run.nodes:
        place.local.warm_node(node)
    out, reference = place.folder / "grpc", place.folder / "local"
    place.run(run, out)
    in_this_process(run, place.data.num_items, reference)
    assert_same_run(out, reference)
    assert load_file(out / "model.safetensors")["item_table"].shape[0] == 63


def test_a_killed_node_and_one_that_sends_nan_cost_their_own_devices_alone(place: Place) -> None:
    deadline = 4.0
    run = place.plan(3, 1, "train.rounds=12", "attack.name=nan", f"strategy.deadline_s={deadline}")
    nodes = [place.local.warm_node(node) for node in run.nodes]
    out = place.folder / "grpc"
    submitted = place.local.submit(place.app, run.run_config(out))
    wait_until(lambda: len(rounds(out)) >= 2, RUN_S, submitted)
    os.killpg(nodes[0].popen.pid, signal.SIGSTOP)  # now the open round waits for this node …
    time.sleep(0.7)
    nodes[0].kill()  # … and it dies in the middle of it
    place.finish(submitted)

    shard = [set(devices) for devices in devices_of(run)]
    audit, told = audit_of(out), rounds(out)
    node = {i: owner(audit, shard[i]) for i in range(4)}
    lost = [e for e in audit if e["node"] == node[0] and e["verdict"] == "refused"]
    assert [(e["reason"], e["detail"]) for e in lost] == [("failed", "'no reply by the deadline'")]
    died = lost[0]["round"]
    assert 2 <= died <= 6
    for round_ in range(1, 13):
        heard = {e["device"] for e in audit if e["round"] == round_ and e["verdict"] == "admitted"}
        assert heard & shard[1]
        assert heard & shard[2]
        assert bool(heard & shard[0]) == (round_ < died)
        assert not heard & shard[3]
        assert told[round_ - 1]["admitted"] == len(heard)
    poison = {(e["verdict"], e["reason"]) for e in audit if e["node"] == node[3]}
    assert poison == {("refused", "not_finite")}
    assert [(line["round"], line["skipped"]) for line in told] == [(n, False) for n in range(1, 13)]
    seconds = [line["seconds"] for line in told]
    print(f"\nseconds a round, a node killed in round {died}: {[round(s, 2) for s in seconds]}")
    assert deadline <= seconds[died - 1]
    assert max(seconds[1:]) < 2 * deadline + 1.5  # asking the dead node again later holds nobody up either
    assert all(v.isfinite().all() for v in load_file(out / "model.safetensors").values())


def owner(audit: Sequence[Mapping[str, Any]], devices: set[int]) -> int:
    """The one node that the audit names for these devices."""
    found = {e["node"] for e in audit if e["device"] in devices}
    assert len(found) == 1
    return int(found.pop())
