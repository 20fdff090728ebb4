"""``fedsieve server`` as systemd starts it: by its absolute path, with no virtual environment on PATH."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from experiments.deploy_cli import ca
from experiments.deployed import ROOT
from experiments.local_deployment import BIN
from experiments.processes import Process, free_ports, listening, wait_until

pytestmark = pytest.mark.deployment
START_S = 20.0


def test_the_server_starts_with_the_path_of_a_service(tmp_path: Path) -> None:
    ca(["127.0.0.1"], tmp_path / "certificates")
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    options = ("--fleet", "--control", "--runtime")
    command = [str(BIN / "fedsieve"), "server", "--database", "fedsieve.db"]
    command += [word for pair in zip(options, addresses, strict=True) for word in pair]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Process(popen, log)
    try:
        wait_until(lambda: all(map(listening, addresses)), START_S, server)
        assert popen.poll() is None
    finally:
        server.stop(4.0)
