"""Child processes with a log, that end with all their own children; and ports of 127.0.0.1."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import RunError
from experiments.shipped import HOME

STOP_S = 8.0
REPORT = {"FEDSIEVE_REPORT": "experiments.engines:completed"}
"""What a ServerApp hands a finished run to, see server.app."""


def module(name: str) -> list[str]:
    """``python -m NAME``, with ``-P``: a ``common.py`` or ``server.py`` in the working folder is not ours."""
    return [sys.executable, "-P", "-m", name]


def import_path() -> dict[str, str]:
    """The variables with which a child, and each of its own, finds the packages of this checkout or wheel."""
    paths = [os.environ.get("PYTHONPATH", "")]
    if Path(sysconfig.get_path("purelib")).resolve() != HOME:
        paths.insert(0, str(HOME))
    found = os.pathsep.join(filter(None, paths))  # an empty part would be the working folder
    return {"PYTHONSAFEPATH": "1", **({"PYTHONPATH": found} if found else {})}


@dataclass
class Process:
    """A child in a process group of its own, so that its children end with it."""

    popen: subprocess.Popen[bytes]
    log: Path
    asked: bool = False

    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_bytes().decode("utf-8", "replace")  # a carriage return ends no line

    def kill(self) -> None:
        """SIGKILL to the whole group, as a device that loses power."""
        self._signal(signal.SIGKILL)
        self.popen.wait()

    def ask(self) -> None:
        """SIGTERM to the group, once: a node takes a second one for impatience."""
        if self.popen.poll() is None and not self.asked:
            self.asked = True
            self._signal(signal.SIGTERM)

    def stop(self, patience_s: float = STOP_S) -> int:
        """SIGTERM, and SIGKILL for what is left after ``patience_s``; the exit status of the child."""
        self.ask()
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(patience_s)
        self._signal(signal.SIGKILL)
        return self.popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses it for a group that has ended
            os.killpg(self.popen.pid, number)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def listening(address: str) -> bool:
    """Whether something takes connections at HOST:PORT."""
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def wait_until(condition: Callable[[], bool], timeout_s: float, process: Process) -> None:
    """Wait for a condition that ``process`` brings about. Raises RunError with its log if it does not."""
    end = time.monotonic() + timeout_s
    while not condition():
        if process.popen.poll() is not None or time.monotonic() > end:
            raise RunError(f"{process.log.name}: not ready\n{process.text()}")
        time.sleep(0.05)
