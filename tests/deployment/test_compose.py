"""``docker compose up`` for real: TLS, node keys, six honest and two malicious containers, one is killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from common.data import load
from common.data.sources import find_local
from experiments.containers.results import trust
from experiments.shipped import HOME as ROOT
from tests.deployment.engine import build, docker, engine

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(3600)]
PROJECT, IMAGE = "fedsieve-test", "fedsieve:test"
ROUNDS, RUN_S = 24, 1500.0
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
Line = dict[str, Any]


@dataclass
class Stack:
    """One ``docker compose up`` with its own project, settings and results folder."""

    folder: Path
    settings: dict[str, str]
    up: subprocess.Popen[bytes] | None = None
    files: tuple[str, ...] = ("docker-compose.yml",)
    scale: dict[str, int] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    def compose(self, *command: str) -> str:
        files = [part for name in self.files for part in ("-f", name)]
        done = docker("compose", "-p", PROJECT, *files, *command, **self.settings)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self) -> None:
        command = ["docker", "compose", "-p", PROJECT]
        command += [part for name in self.files for part in ("-f", name)]
        command += ["up", *(f"--scale={service}={count}" for service, count in self.scale.items())]
        with self.log.open("wb") as out:
            self.up = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        self.wait(lambda: re.search(pattern, self.text()) is not None)

    def wait(self, condition: Callable[[], bool]) -> None:
        assert self.up is not None
        end = time.monotonic() + RUN_S
        while not condition():
            assert self.up.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.5)

    def running(self) -> list[str]:
        return docker("ps", "--filter", f"label=com.docker.compose.project={PROJECT}", "-q").stdout.split()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engine():
        build(IMAGE, tmp_path_factory.mktemp("wheels"))
        yield IMAGE


@pytest.fixture
def stack(image: str, tmp_path: Path) -> Iterator[Stack]:
    load("ml-100k")
    local = find_local("ml-100k")
    assert local is not None
    (tmp_path / "runs").mkdir()
    settings = {"IMAGE": image, "RUNS": str(tmp_path / "runs"), "FEDSIEVE_DATA": str(local[1].parent)}
    made = Stack(tmp_path, {**settings, "NODES": "6", "MALICIOUS": "2", "DEADLINE": "10"})
    try:
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "1")
        if made.up is not None:
            made.up.wait(60)


def lines(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def audit_of(out: Path) -> list[Line]:
    return [line for line in lines(out / "audit.jsonl") if "evaluation" not in line]


def name(service: str, number: int) -> str:
    return f"{PROJECT}-{service}-{number}"


def test_a_run_with_a_killed_and_a_restarted_container(stack: Stack) -> None:
    stack.settings |= {"ROUNDS": str(ROUNDS), "EVAL_EVERY": "0"}
    stack.settings |= {"NODES": "2", "MALICIOUS": "1"}
    stack.scale = {"node": 6, "malicious": 2}  # wins over both
    stack.start()
    stack.wait_for(rf"round 4 of {ROUNDS}: ")
    assert_hardened(10)  # setup has ended, results has not begun
    assert_apart()
    assert_healthy()
    docker("restart", "-t", "0", name("node", 2))
    docker("kill", name("node", 5))
    assert stack.up is not None
    assert stack.up.wait(RUN_S) == 0, stack.text()
    told = stack.text()
    assert stack.running() == []  # the others ended by themselves

    (out,) = (path for path in (stack.folder / "runs").iterdir())
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["rounds"], summary["attack"], summary["aggregator"]) == (
        ROUNDS,
        "label_to_target",
        "sieve",
    )
    assert summary["er@10"] < 0.05
    assert summary["test"]["hr@10"] > 0.03
    assert (out / "report.html").exists()
    seconds = [line["seconds"] for line in lines(out / "metrics.jsonl") if "seconds" in line]
    print(f"\nseconds a round, 6 honest and 2 malicious containers: median {median(seconds):.2f}")

    shares = shards(told)
    assert len(shares[name("node", 2)]) == 2  # restarted: it claimed again …
    assert len(set(shares[name("node", 2)])) == 1  # … and got the shard that it had
    containers = json.loads((out / "containers.json").read_text())
    assert_distrusted(out, containers)
    (killed,) = shares[name("node", 5)]
    (node,) = (c["node"] for c in containers if c["side"] == "honest" and c["slot"] == killed)
    last = max(e["round"] for e in audit_of(out) if e["node"] == node and e["verdict"] == "admitted")
    assert 4 <= last < ROUNDS
    assert_no_secrets(told)


def shards(told: str) -> dict[str, list[int]]:
    """Container -> the shards it said it has, in order."""
    found: dict[str, list[int]] = {}
    for container, number in re.findall(r"((?:node|malicious)-\d+)\s*\| shard (\d+):", told):
        found.setdefault(f"{PROJECT}-{container}", []).append(int(number))
    return found


def assert_distrusted(out: Path, containers: list[Line]) -> None:
    """The audit names the malicious containers' nodes and devices, with a small part of the honest weight."""
    audit = audit_of(out)
    weights = trust(audit)
    side = {c["node"]: c["side"] for c in containers}
    assert sorted(side.values()) == ["honest"] * 6 + ["malicious"] * 2
    honest = median(w.mean_weight for node, w in weights.items() if side[node] == "honest")
    bad = {node: w for node, w in weights.items() if side[node] == "malicious"}
    assert len(bad) == 2
    assert all(w.admitted > 0 and w.mean_weight < 0.2 * honest for w in bad.values()), weights
    owner = {device: c["node"] for c in containers for device in c["devices"]}
    assert len(owner) == 943
    assert all(owner[e["device"]] == e["node"] for e in audit if e["device"] is not None)


def assert_hardened(count: int) -> None:
    """What Docker itself says of each of the ``count`` running containers."""
    found = json.loads(
        docker("inspect", *docker("ps", "-q", "--filter", f"name={PROJECT}").stdout.split()).stdout
    )
    assert len(found) == count
    for container in found:
        host, config = container["HostConfig"], container["Config"]
        assert config["User"] == "fedsieve", container["Name"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Init"]
        assert 0 < host["Memory"] <= 4 << 30
        assert 0 < host["PidsLimit"] <= 512
        assert not host["PortBindings"]


def assert_apart() -> None:
    """Nodes reach the Fleet API and neither the Control API, nor each other's side, nor the outside."""
    control = docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", name("superlink", 1)).stdout
    address = json.loads(control)[f"{PROJECT}_control"]["IPAddress"]
    for node in (name("node", 1), name("malicious", 1)):
        assert reaches(node, "superlink-fleet", 9092)
        assert not reaches(node, "superlink-control", 9093)
        assert not reaches(node, address, 9093)
        assert not reaches(node, "superlink-fleet", 9093)
        assert not reaches(node, "superlink-fleet", 9091)
    assert docker("exec", name("node", 1), "ls", "/state/honest/keys").returncode == 0
    assert docker("exec", name("malicious", 1), "ls", "/state/honest/keys").returncode
    assert docker("exec", name("superlink", 1), "ls", "/state/honest/keys").returncode
    assert docker("exec", name("node", 1), "ls", "/state/authority/ca.key").returncode


def assert_healthy() -> None:
    """The health checks of connected containers pass, and would not without what they look at."""
    for container in (name("superlink", 1), name("node", 1), name("malicious", 1)):
        told = docker("inspect", "-f", "{{json .Config.Healthcheck.Test}}", container).stdout
        kind, *check = json.loads(told)
        assert kind == "CMD"
        assert docker("exec", container, *check).returncode == 0, container
    gone = [word.replace("/tmp/ready", "/tmp/gone") for word in check]
    assert docker("exec", container, *gone).returncode


def reaches(container: str, host: str, port: int) -> bool:
    return docker("exec", container, "python", "-ISc", REACH, host, str(port)).returncode == 0


def assert_no_secrets(told: str) -> None:
    """No private key in what was printed, in the image's layers, or in its settings."""
    assert "PRIVATE KEY" not in told
    listing = docker(
        "run", "--rm", "--network", "none", "--entrypoint", "find", IMAGE, "/state", "/results", "-type", "f"
    )
    assert listing.stdout.split() == []
    assert "KEY" not in docker("image", "inspect", "-f", "{{json .Config.Env}}", IMAGE).stdout


def test_a_wrong_setting_ends_it_with_the_valid_values(stack: Stack) -> None:
    stack.settings["STRATEGY"] = "krumm"
    stack.start()
    assert stack.up is not None
    assert stack.up.wait(RUN_S) == 1
    assert (
        "fedsieve: strategy.aggregator: unknown aggregator 'krumm': did you mean 'krum'? valid: krum, "
        in stack.text()
    )
    assert stack.running() == []


def test_stock_nodes_take_part_in_a_run(stack: Stack) -> None:
    """Flower's own program in the same containers: a process a message, the same results."""
    stack.files = ("docker-compose.yml", "docker/stock.yml")
    stack.settings |= {"DATA": "synthetic", "NODES": "2", "MALICIOUS": "1", "DEADLINE": "300"}
    stack.settings |= {"ROUNDS": "2", "EVAL_EVERY": "0", "SETTINGS": "model.dim=8 train.slice_size=60"}
    stack.start()
    stack.wait_for(r"round 1 of 2: ")
    assert_hardened(5)
    for container in (name("node", 1), name("malicious", 1)):
        assert "flower-supernode" in docker("top", container, "-eo", "pid,args").stdout
    assert stack.up is not None
    assert stack.up.wait(RUN_S) == 0, stack.text()
    assert stack.running() == []
    (out,) = (stack.folder / "runs").iterdir()
    containers = json.loads((out / "containers.json").read_text())
    admitted = {e["node"] for e in audit_of(out) if e["verdict"] == "admitted"}
    assert {c["node"] for c in containers if c["side"] == "honest"} <= admitted
    assert json.loads((out / "summary.json").read_text())["rounds"] == 2
    assert_no_secrets(stack.text())
