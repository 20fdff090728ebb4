"""Child processes end with their own children, and ports and waits tell the truth."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.errors import RunError
from experiments.local_deployment import Deployment
from experiments.processes import Process, free_ports, listening, wait_until

FAMILY = "import subprocess, sys; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); c.wait()"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("up", flush=True)
time.sleep(60)
"""


Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def run(code: str) -> Process:
            log = tmp_path / "child.log"
            with log.open("wb") as out:
                popen = subprocess.Popen([sys.executable, "-c", code], stdout=out, start_new_session=True)
            process = Process(popen, log)
            stack.callback(process.stop, 0.1)
            wait_until(lambda: bool(process.text()), 20, process)
            return process

        yield run


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_children_of_a_child_end_with_it(start: Start, how: str) -> None:
    process = start(FAMILY)
    grandchild = int(process.text())
    assert not Path(f"/proc/{grandchild}").exists() or os.getpgid(grandchild) == process.popen.pid
    getattr(process, how)()
    assert gone(grandchild)
    assert process.popen.returncode == -(signal.SIGTERM if how == "stop" else signal.SIGKILL)


def test_what_ignores_sigterm_is_killed(start: Start) -> None:
    process = start(STUBBORN)
    assert process.stop(patience_s=0.3) == -signal.SIGKILL


def test_it_asks_once(start: Start) -> None:
    process = start(STUBBORN)
    process.ask()
    wait_until(lambda: "asked" in process.text(), 20, process)
    process.ask()
    process.stop(patience_s=0.3)
    assert process.text().count("asked") == 1


def test_ports_are_distinct_and_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert not any(listening(f"127.0.0.1:{port}") for port in ports)
    with socket.create_server(("127.0.0.1", ports[0])):
        assert listening(f"127.0.0.1:{ports[0]}")


def test_a_process_that_dies_or_dallies_is_told_with_its_log(start: Start) -> None:
    dead = start("print('went wrong')")
    with pytest.raises(RunError, match="went wrong"):
        wait_until(lambda: False, 20, dead)
    slow = start(STUBBORN)
    with pytest.raises(RunError, match="not ready"):
        wait_until(lambda: False, 0.1, slow)


def test_a_deployment_stops_what_it_started_when_the_block_fails(tmp_path: Path) -> None:
    stack = ExitStack()
    made = Deployment(tmp_path, stack, {"MARK": "here"})

    def block() -> None:
        with stack:
            process = made.start("child", [sys.executable, "-c", "import os; print(os.environ['MARK'])"])
            wait_until(lambda: "here" in process.text(), 20, sleeper)
            raise ZeroDivisionError

    sleeper = made.start("sleeper", ["sleep", "60"])
    with pytest.raises(ZeroDivisionError):
        block()
    assert sleeper.popen.returncode == -signal.SIGTERM
    assert "--- child.log\nhere" in made.logs()
