"""Nodes that are silent for a while and come back: the rounds go on, and so do they."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.data import load
from common.settings import load as settings
from experiments.deployed import Plan, plan, stage
from experiments.flower_config import argument, toml
from experiments.local_deployment import BIN, SUPERLINK, Deployment, deployment
from experiments.processes import Process, wait_until
from tests.deployment.test_machines import NODE, SERVER, Machine, ip, machines  # noqa: F401  (a fixture)

pytestmark = pytest.mark.deployment
RUN_S, DEADLINE_S, ROUNDS = 240.0, 3.0, 40
SMALL = (
    "data.name=synthetic",
    "model.dim=8",
    "model.max_len=12",
    "model.blocks=1",
    f"train.rounds={ROUNDS}",
    "train.devices_per_round=60",
    "train.slice_size=60",
    "strategy.aggregator=median",
    f"strategy.deadline_s={DEADLINE_S}",
    "strategy.wait_s=120",
    "eval.every=0",
)
Line = dict[str, Any]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path / "run") as made:
        yield made


def three(folder: Path) -> tuple[Plan, list[set[int]]]:
    """A plan of three honest nodes on the synthetic log, and the devices of each."""
    data = load("synthetic")
    made = plan(settings(overrides=list(SMALL)), data, 3, 0, folder / "logs")
    return made, [set(data.devices[i::3].tolist()) for i in range(3)]


def heard(out: Path) -> list[set[int]]:
    """Round by round, from the first on, the devices that were admitted."""
    file = out / "audit.jsonl"
    found: list[set[int]] = []
    for text in file.read_text().splitlines() if file.exists() else []:
        line = json.loads(text) if text.endswith("}") else None
        if line is None:
            continue
        found += [set() for _ in range(line["round"] - len(found))]
        if line["verdict"] == "admitted":
            found[line["round"] - 1].add(line["device"])
    return found


def absent_then_back(
    out: Path, run: Process, devices: set[int], stop: Callable[[], None], go: Callable[[], None]
) -> None:
    """Silence a node after round 2, let rounds pass without it, and see it take part again."""
    wait_until(lambda: len(heard(out)) >= 2, RUN_S, run)
    stop()
    wait_until(lambda: len(h := heard(out)) >= 4 and not h[-2] & devices, RUN_S, run)
    go()
    gone = len(heard(out))
    wait_until(lambda: any(h & devices for h in heard(out)[gone:]), RUN_S, run)


def test_a_node_that_is_paused_past_the_deadline_comes_back(local: Deployment, tmp_path: Path) -> None:
    made, devices = three(tmp_path)
    nodes = [local.warm_node(node) for node in made.nodes]
    out = tmp_path / "out"
    run = local.submit(stage(tmp_path / "app"), made.run_config(out))
    group = nodes[0].popen.pid
    absent_then_back(
        out,
        run,
        devices[0],
        lambda: os.killpg(group, signal.SIGSTOP),
        lambda: os.killpg(group, signal.SIGCONT),
    )
    assert_complete(local, run, out, devices)


@pytest.mark.parametrize("how", ["unplugged", "dropped"])
def test_a_node_whose_packets_are_lost_comes_back(
    machines: tuple[Machine, Machine],  # noqa: F811
    tmp_path: Path,
    how: str,
) -> None:
    server, far = machines
    local = server.local
    command: list[str | Path] = [
        *SUPERLINK,
        "--insecure",
        "--disable-runtime-dependency-installation",
    ]
    command += ["--fleet-api-address", "0.0.0.0:9092", "--control-api-address", "127.0.0.1:9093"]
    superlink = local.start("superlink", ["ip", "netns", "exec", server.space, *command])
    made, devices = three(tmp_path)

    def node(number: int, space: str, host: str) -> Process:
        words = [sys.executable, "-m", "client.node", "--insecure", "--superlink", f"{host}:9092"]
        words += ["--node-config", argument(made.nodes[number])]
        return local.start(f"node-{number}", ["ip", "netns", "exec", space, *words])

    cut = node(0, far.space, SERVER)
    for number in (1, 2):
        node(number, server.space, "127.0.0.1")
    (local.folder / "flwr" / "config.toml").write_text(
        '[superlink.fed]\naddress = "127.0.0.1:9093"\ninsecure = true\n'
    )
    (tmp_path / "run.toml").write_text(toml(made.run_config(tmp_path / "out")))
    wait_until(lambda: "is connected" in cut.text(), RUN_S, superlink)
    words = [
        BIN / "flwr",
        "run",
        stage(tmp_path / "app"),
        "fed",
        "--stream",
        "--run-config",
        tmp_path / "run.toml",
    ]
    run = local.start("run", ["ip", "netns", "exec", server.space, *words])

    stop, go = CUTS[how](server, far)
    absent_then_back(tmp_path / "out", run, devices[0], stop, go)
    assert_complete(local, run, tmp_path / "out", devices)


def unplugged(server: Machine, far: Machine) -> tuple[Callable[[], None], Callable[[], None]]:
    """The cable is out: the kernel of the node says so to its calls at once."""

    def cable(state: str) -> None:
        ip("-n", far.space, "link", "set", "cable", state)

    return lambda: cable("down"), lambda: cable("up")


def dropped(server: Machine, far: Machine) -> tuple[Callable[[], None], Callable[[], None]]:
    """Every packet is lost and nobody is told: both ends send to a network card that does not exist."""
    ends = ((server.space, NODE), (far.space, SERVER))

    def stop() -> None:
        for space, other in ends:
            card = ("lladdr", "02:00:00:00:00:01", "nud", "permanent")
            ip("-n", space, "neighbour", "replace", other, *card, "dev", "cable")

    def go() -> None:
        for space, other in ends:
            ip("-n", space, "neighbour", "del", other, "dev", "cable")

    return stop, go


CUTS = {"unplugged": unplugged, "dropped": dropped}


def assert_complete(local: Deployment, run: Process, out: Path, devices: list[set[int]]) -> None:
    """The run ended well, no round waited longer than its deadline, and the others were in every round."""
    assert run.popen.wait(RUN_S) == 0
    assert (out / "summary.json").exists(), local.logs()
    rounds = heard(out)
    assert len(rounds) == ROUNDS
    assert all(h & devices[1] and h & devices[2] for h in rounds)
    told = [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in told if "seconds" in line]
    assert max(seconds) < 2 * DEADLINE_S + 2.0  # asking it again holds nobody up for longer
    assert not any(line.get("skipped") for line in told)


def test_with_too_few_nodes_the_run_waits_says_so_and_gives_up(local: Deployment, tmp_path: Path) -> None:
    made, _ = three(tmp_path)
    strategy = made.config.strategy.model_copy(update={"wait_s": 4.0})
    asked = Plan(made.nodes, made.config.model_copy(update={"strategy": strategy}))
    nodes = [local.warm_node(node) for node in made.nodes[:2]]
    wait_until(lambda: all("is connected" in node.text() for node in nodes), RUN_S, nodes[0])
    result = local.wait(local.submit(stage(tmp_path / "app"), asked.run_config(tmp_path / "out")), RUN_S)
    assert result.status == "finished:failed", local.logs()
    assert result.log.count("waiting for nodes: 2 of 3") == 1  # once, not in every look
    assert "2 of 3 nodes after 4 s; see strategy.wait_nodes, wait_s" in result.log
    assert heard(tmp_path / "out") == []
    assert not (tmp_path / "out" / "summary.json").exists()
