"""The unit of docs/deployment.md starts with what systemd gives it: its own PATH, no shell, no profile."""

from __future__ import annotations

import os
import re
import shlex
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from experiments.identity import make_authority, make_server
from experiments.local_deployment import BIN, Deployment
from experiments.processes import listening, wait_until
from experiments.shipped import HOME as ROOT

pytestmark = pytest.mark.deployment
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/srv/fedsieve"
WAIT_S = 25.0


def unit(name: str) -> dict[str, str]:
    """The lines KEY=VALUE of one unit in the document."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    block = text.split(f"/etc/systemd/system/{name}.service", 1)[1].split("```", 1)[0]
    return dict(re.findall(r"^(\w+)=(.*)$", block, re.MULTILINE))


def children(parent: int) -> list[str]:
    """Command lines of the living descendants of a process."""
    found = []
    for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        line = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        found += [line, *children(int(number))]
    return found


def test_the_server_starts_with_the_path_of_systemd(tmp_path: Path) -> None:
    said = unit("fedsieve-server")
    program, *options = shlex.split(said["ExecStart"].replace(f"{HOME}/venv/bin", str(BIN)))
    assert Path(program).parent == BIN
    variable, _, value = said["Environment"].partition("=")
    folder = tmp_path / "certificates"
    make_authority(folder / "ca.key", folder / "ca.pem")
    authority = folder / "ca.key", folder / "ca.pem"
    make_server(folder / "server.key", folder / "server.pem", authority, ["127.0.0.1"])
    with ExitStack() as stack:
        local = Deployment(tmp_path, stack, {})
        local.environment = {"PATH": PATH, variable: value.replace(HOME, str(tmp_path))}
        local.environment |= {"PYTHONPATH": str(ROOT)}  # a checkout is not installed as a venv's packages are
        addresses = ["--fleet", local.fleet, "--control", local.control, "--runtime", local.runtime]
        server = local.start("server", [program, *options, *addresses])
        began = time.monotonic()
        wait_until(lambda: listening(local.fleet) and listening(local.control), WAIT_S, server)
        own = os.fspath(BIN / "flower-superexec")
        wait_until(lambda: any(own in line for line in children(server.popen.pid)), WAIT_S, server)
        assert time.monotonic() - began < WAIT_S
        assert not any(os.fspath(BIN) in part for part in local.environment["PATH"].split(os.pathsep))
