"""The real app on real processes: the same model as in one process, dead nodes, poison, and its speed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from client.app import app as client_app
from common.data import Dataset, load
from common.settings import load as settings
from experiments.deployed import Plan, plan, stage
from experiments.local_deployment import Deployment, deployment
from experiments.processes import Process, wait_until
from server.app import serve
from server.local_grid import LocalGrid

pytestmark = pytest.mark.deployment
RUN_S = 150.0
SMALL = (
    "data.name=synthetic",
    "model.dim=8",
    "model.max_len=12",
    "model.blocks=1",
    "train.devices_per_round=40",
    "train.slice_size=60",
    "strategy.aggregator=median",
    "wire.dtype=float32",
    "eval.every=0",
)
Line = dict[str, Any]


@dataclass
class Place:
    """A deployment, the app to submit, and the log that is split over the nodes."""

    local: Deployment
    app: Path
    data: Dataset
    folder: Path

    def plan(self, honest: int, malicious: int, *overrides: str) -> Plan:
        config = settings(overrides=[*SMALL, *overrides])
        return plan(config, self.data, honest, malicious, self.folder / "logs")

    def run(self, run: Plan, out: Path) -> None:
        self.finish(self.local.submit(self.app, run.run_config(out)))

    def finish(self, submitted: Process) -> None:
        result = self.local.wait(submitted, RUN_S)
        assert result.status == "finished:completed", self.local.logs()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    app = stage(tmp_path / "app")
    with deployment(tmp_path / "run") as local:
        yield Place(local, app, load("synthetic"), tmp_path)


def in_this_process(run: Plan, num_items: int, out: Path) -> None:
    """The same node configs without a network; one thread, as the node processes have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        serve(LocalGrid(client_app, run.nodes), run.config, num_items, out)
    finally:
        torch.set_num_threads(threads)


def lines(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def rounds(out: Path) -> list[Line]:
    """The lines about training in metrics.jsonl."""
    return [line for line in lines(out / "metrics.jsonl") if "split" not in line]


def assert_same_run(one: Path, other: Path) -> None:
    """The same model to 1e-6, device by device the same verdicts, and the same results."""
    models = [load_file(out / "model.safetensors") for out in (one, other)]
    assert models[0].keys() == models[1].keys() == {"encoder", "item_table"}
    for name in models[0]:
        assert (models[0][name] - models[1][name]).abs().max() <= 1e-6, name
    verdicts = [
        sorted((e["round"], e["device"], e["verdict"]) for e in lines(o / "audit.jsonl"))
        for o in (one, other)
    ]
    assert verdicts[0] == verdicts[1]
    tests = [json.loads((out / "summary.json").read_text())["test"] for out in (one, other)]
    assert tests[0] == pytest.approx(tests[1], abs=1e-6)


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


def test_stock_nodes_end_with_the_same_model(place: Place) -> None:
    run = place.plan(1, 1, "train.rounds=2", "attack.name=explicit_boost")
    for node in run.nodes:
        place.local.stock_node(node)
    out, reference = place.folder / "grpc", place.folder / "local"
    place.run(run, out)
    in_this_process(run, place.data.num_items, reference)
    assert_same_run(out, reference)
    seconds = [line["seconds"] for line in rounds(out)]
    print(f"\nseconds a round, 2 stock nodes: {[round(s, 2) for s in seconds]}")


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

    shard = [set(place.data.devices[i::4].tolist()) for i in range(4)]
    audit, told = lines(out / "audit.jsonl"), rounds(out)
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
