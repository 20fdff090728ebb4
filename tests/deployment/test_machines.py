"""Two machines as a user sets them up: ``enroll``, ``server``, ``node``, in two network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.data import load, write_shards
from experiments.deployed import stage
from experiments.flower_config import toml
from experiments.local_deployment import BIN, Deployment
from experiments.processes import Process, wait_until

pytestmark = pytest.mark.deployment
WAIT_S = 120.0
SERVER, NODE = "192.0.2.1", "192.0.2.2"  # TEST-NET-1: addresses that nobody has
SETTINGS: dict[str, bool | int | float | str] = {
    "train.rounds": 3,
    "train.devices_per_round": 20,
    "train.slice_size": 40,
    "model.dim": 8,
    "model.max_len": 8,
    "eval.every": 0,
    "strategy.wait_s": WAIT_S,
}


@dataclass
class Machine:
    """A network namespace, a folder, and what of the file system this machine must not see."""

    local: Deployment
    space: str
    folder: Path
    hidden: Path

    def start(self, name: str, *command: str | Path) -> Process:
        hide = f"mount -t tmpfs none {self.hidden} && cd {self.folder} && exec "
        words = " ".join(f"'{part}'" for part in command)
        return self.local.start(
            name, ["ip", "netns", "exec", self.space, "unshare", "-m", "sh", "-c", hide + words]
        )

    def fedsieve(self, name: str, *command: str | Path) -> Process:
        return self.start(name, sys.executable, "-m", "experiments.cli", *command)

    def done(self, process: Process) -> str:
        assert process.popen.wait(WAIT_S) == 0, process.text()
        return process.text()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """A server and a node, one cable between them, each blind to the other's files."""
    if os.getuid() or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("SEPARATE MACHINES NOT TESTED: network namespaces need root, ip and unshare")
    spaces = [f"fs-{os.getpid()}-{side}" for side in "ab"]
    folders = [tmp_path / "server", tmp_path / "node"]
    with ExitStack() as stack:
        local = Deployment(tmp_path, stack, {"COLUMNS": "200"})
        for folder in (*folders, tmp_path / "flwr"):
            folder.mkdir()
        for space in spaces:
            ip("netns", "add", space)
            stack.callback(ip, "netns", "del", space)
        ip(
            "link",
            "add",
            "cable",
            "netns",
            spaces[0],
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            spaces[1],
        )
        for space, address in zip(spaces, (SERVER, NODE), strict=True):
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", space, "link", "set", device, "up")
        server, node = (
            Machine(local, space, own, other)
            for space, own, other in zip(spaces, folders, reversed(folders), strict=True)
        )
        yield server, node
        local.end()
        for process in local._started:
            process.stop()


def ip(*command: str) -> None:
    done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"SEPARATE MACHINES NOT TESTED: ip {' '.join(command)}: {done.stderr.strip()}")


def test_a_node_on_another_machine_enrols_and_trains(machines: tuple[Machine, Machine]) -> None:
    server, node = machines
    local = server.local
    server.done(server.fedsieve("ca", "enroll", "ca", "--host", SERVER, "--host", "127.0.0.1"))
    wait = server.fedsieve("server", "server", "--fleet", f"{SERVER}:9092", "--database", "state.db")
    data = load("synthetic", "devices=40,items=60,length=8")
    log, *_ = write_shards(data, 2, node.folder / "logs")
    shutil.copy(log.parent / "catalogue.parquet", server.folder)
    shutil.copy(server.folder / "certificates" / "ca.pem", node.folder)  # what is carried by hand

    node.done(node.fedsieve("key", "enroll", "key", "node.key"))
    options = ["--superlink", f"{SERVER}:9092", "--root-certificates", "ca.pem", "--data", log]
    stranger = node.fedsieve("stranger", "node", *options)
    serving = node.fedsieve("node", "node", *options, "--key", "node.key")
    wait_until(lambda: "does not take this node" in serving.text(), WAIT_S, serving)
    shutil.copy(node.folder / "node.key.pub", server.folder)
    roots = ["--root-certificates", "certificates/ca.pem"]
    told = server.done(server.fedsieve("add", "enroll", "add", "node.key.pub", *roots))
    assert server.done(server.fedsieve("again", "enroll", "add", "node.key.pub", *roots)) == told  # kept
    wait_until(lambda: "is connected to" in serving.text(), WAIT_S, serving)

    pem = server.folder / "certificates" / "ca.pem"
    (local.folder / "flwr" / "config.toml").write_text(
        f'[superlink.fed]\naddress = "127.0.0.1:9093"\nroot-certificates = "{pem}"\n'
    )
    out = server.folder / "run"
    wanted = {**SETTINGS, "data.path": str(server.folder / "catalogue.parquet"), "out": str(out)}
    (server.folder / "run.toml").write_text(toml(wanted))
    app = stage(server.folder / "app")
    run = server.start("run", BIN / "flwr", "run", app, "fed", "--stream", "--run-config", "run.toml")
    server.done(run)
    assert (out / "summary.json").exists(), local.logs()
    told_of = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    audit = [line for line in told_of if "evaluation" not in line]
    assert {line["device"] for line in audit} <= set(data.devices[::2].tolist())
    assert sum(line["verdict"] == "admitted" for line in audit) >= 3 * 15
    assert {str(line["node"]) for line in audit} == {told.split()[-1]}
    assert "is connected to" not in stranger.text()
    assert wait.popen.poll() is None
    assert (
        node.fedsieve(
            "look",
            "enroll",
            "add",
            "node.key.pub",
            "--root-certificates",
            "ca.pem",
            "--control",
            f"{SERVER}:9093",
        ).popen.wait(WAIT_S)
        == 2
    )  # the Control API is not for the network
