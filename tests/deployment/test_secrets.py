"""Private keys stay where they were made: not in logs, results, the database, the image, or the repo."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.data import load
from common.settings import load as settings
from experiments.deployed import plan, stage
from experiments.identity import make_authority, make_node_key, make_server
from experiments.local_deployment import CONNECTION, SUPERLINK, Deployment
from experiments.processes import listening, wait_until
from experiments.shipped import HOME as ROOT
from transport.control import enrol

SMALL = ("data.name=synthetic", "model.dim=8", "model.max_len=12", "train.rounds=2", "train.slice_size=60")
MARK = b"PRIVATE" + b" KEY"  # in two parts, so that this file is not found itself
WAIT_S = 120.0


def secrets(folder: Path) -> list[bytes]:
    """The middle of every private key below ``folder``: a line of base64 that nothing else has."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and MARK in path.read_bytes()]
    return [path.read_bytes().splitlines()[2] for path in files]


def leaks(folder: Path, wanted: list[bytes]) -> list[str]:
    """Files below ``folder`` that hold one of these, or any private key."""
    found = []
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if MARK in data or any(secret in data for secret in wanted):
            found.append(str(path))
    return found


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        made = Deployment(tmp_path / "work", stack, {})
        (tmp_path / "work" / "flwr").mkdir(parents=True)
        yield made
        made.end()


@pytest.mark.deployment
def test_no_key_is_in_what_a_run_leaves_behind(local: Deployment, tmp_path: Path) -> None:
    keys, work = tmp_path / "keys", tmp_path / "work"
    authority = keys / "ca.key", keys / "ca.pem"
    make_authority(*authority)
    make_server(keys / "server.key", keys / "server.pem", authority, ["127.0.0.1"])
    public = make_node_key(keys / "node.key")
    wanted = secrets(keys)
    assert len(wanted) == 3
    (work / "flwr" / "config.toml").write_text(
        f'[superlink.{CONNECTION}]\naddress = "{local.control}"\nroot-certificates = "{authority[1]}"\n'
    )
    command: list[str | Path] = [*SUPERLINK, "--enable-supernode-auth"]
    command += ["--ssl-certfile", keys / "server.pem", "--ssl-keyfile", keys / "server.key"]
    command += ["--ssl-ca-certfile", authority[1], "--disable-runtime-dependency-installation"]
    command += ["--fleet-api-address", local.fleet, "--control-api-address", local.control]
    command += ["--serverappio-api-address", local.runtime, "--database", work / "superlink.db"]
    superlink = local.start("superlink", command)
    wait_until(lambda: listening(local.fleet) and listening(local.control), WAIT_S, superlink)
    enrol(local.control, authority[1].read_bytes(), [public])
    run = plan(settings(overrides=list(SMALL)), load("synthetic"), 1, 0, tmp_path / "logs")
    node = [sys.executable, "-m", "experiments.cli", "node", "--superlink", local.fleet]
    node += ["--root-certificates", str(authority[1]), "--key", str(keys / "node.key")]
    local.start("node", [*node, "--data", str(run.nodes[0]["path"])])
    submitted = local.submit(stage(work / "app"), run.run_config(work / "out"))
    assert submitted.popen.wait(WAIT_S) == 0, local.logs()
    assert (work / "out" / "summary.json").exists(), local.logs()
    assert leaks(work, wanted) == []
    assert (work / "superlink.db").stat().st_size > 0
    (work / "node.log").write_bytes(b"x" + wanted[0])
    assert leaks(work, wanted) == [str(work / "node.log")]  # the search finds what there is


def test_the_image_is_made_of_a_list_that_holds_no_keys_logs_or_results() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    taken = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word
        for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert taken == copied
    assert not taken & {".", "runs", "certificates", "docker", "tests", ".env", ".git"}


def test_the_repo_holds_no_private_key() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=60)
    if listed.returncode:
        pytest.skip("NOT SEARCHED FOR KEYS: this is no git checkout")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert len(files) > 100
    assert [
        path for path in files if path.is_file() and b"-----BEGIN " + b"OPENSSH " in path.read_bytes()
    ] == []
    assert [p for p in files if p.suffix in (".key", ".pem", ".p12") or p.name.startswith("id_")] == []
