"""Real processes on 127.0.0.1: speed of a round, stock nodes, dead nodes, a SuperLink that comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from experiments.local_deployment import Deployment, RunResult, deployment
from experiments.processes import Process, listening, wait_until
from tests.deployment.toy import write_toy

pytestmark = pytest.mark.deployment
RUN_S = 90.0


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "app")


@pytest.fixture
def local(tmp_path: Path, toy: Path) -> Iterator[Deployment]:
    with deployment(tmp_path / "deployment", PYTHONPATH=f"{Path.cwd()}{os.pathsep}{toy}") as made:
        yield made


def warm(local: Deployment, count: int) -> list[Process]:
    return [local.warm_node({"number": i}, "toyapp.client:app") for i in range(count)]


def rounds(result: RunResult) -> list[dict[str, object]]:
    assert result.status == "finished:completed", result.log
    lines = [line.removeprefix("ROUND ") for line in result.log.splitlines() if line.startswith("ROUND ")]
    return [json.loads(line) for line in lines]


def test_warm_nodes_are_fast_keep_state_and_report_failures(local: Deployment, toy: Path) -> None:
    nodes = warm(local, 4)
    told = rounds(local.wait(local.submit(toy, {"rounds": 6}), RUN_S))
    seconds = [float(str(line["seconds"])) for line in told]
    print(f"\nempty round, 4 warm nodes: {[round(s, 2) for s in seconds]} s")
    assert median(seconds) <= 1.5
    assert [line["w"] for line in told] == [
        2.0,
        4.0,
        6.0,
        8.0,
        10.0,
        12.0,
    ]  # mean(0..3) + the app's default 0.5
    assert told[-1]["seen"] == [6] * 4
    assert set(told[-1]["pids"]) == {node.popen.pid for node in nodes}  # type: ignore[call-overload]

    failing = rounds(local.wait(local.submit(toy, {"rounds": 2, "fail": 3, "bonus": 1.0}), RUN_S))
    assert [line["good"] for line in failing] == [3, 3]
    assert failing[0]["errors"] == ["2 ValueError: toy failure"]
    assert failing[-1]["w"] == 4.0  # (mean(0..2) + 1) twice: the override reached the nodes
    assert failing[-1]["seen"] == [2] * 3  # a new run starts with a new state
    assert [node.stop() for node in nodes] == [0] * 4


def test_stock_nodes_run_the_same_app(local: Deployment, toy: Path) -> None:
    for number in range(2):
        local.stock_node({"number": number})
    told = rounds(local.wait(local.submit(toy, {"rounds": 2, "nodes": 2}), RUN_S))
    assert [line["w"] for line in told] == [1.0, 2.0]
    assert told[-1]["seen"] == [2, 2]


def test_a_killed_node_costs_its_reply_and_not_the_round(local: Deployment, toy: Path) -> None:
    nodes = warm(local, 3)
    run = local.submit(toy, {"rounds": 3, "nodes": 3, "slow": 1, "deadline": 3.0})
    wait_until(lambda: "SLEEPING" in nodes[1].text(), RUN_S, run)
    nodes[1].kill()
    told = rounds(local.wait(run, RUN_S))
    assert [line["good"] for line in told] == [3, 2, 2]
    assert all(float(str(line["seconds"])) < 6.0 for line in told)


def test_nodes_outlive_the_superlink(tmp_path: Path, local: Deployment, toy: Path) -> None:
    nodes = warm(local, 2)
    wait_until(lambda: all("is connected" in node.text() for node in nodes), RUN_S, nodes[0])
    local.superlinks[-1].stop()
    assert not listening(local.fleet)
    local.superlink()  # with an empty memory: the nodes must register anew
    told = rounds(local.wait(local.submit(toy, {"rounds": 1, "nodes": 2}), RUN_S))
    assert told[0]["good"] == 2
    assert all(node.popen.poll() is None for node in nodes)
