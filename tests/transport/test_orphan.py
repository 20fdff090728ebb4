"""A process that does not end by itself ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from transport.orphan import end_with_parent

CHILD = """
import os, signal, sys, time
from transport.orphan import end_with_parent
signal.signal(signal.SIGINT, signal.SIG_IGN)
end_with_parent(["flwr-serverapp", "--parent-pid", str(os.getppid())], 0.5)
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(600)"
)


def alive(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat") as file:  # noqa: PTH123 - may vanish between two calls
            return file.read().split()[2] != "Z"
    except OSError:
        return False


def test_a_child_that_hangs_ends_after_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        time.sleep(1.0)
        assert alive(child)  # as long as the parent lives
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        end = time.monotonic() + 20
        while alive(child) and time.monotonic() < end:
            time.sleep(0.05)
        assert not alive(child)
    finally:
        parent.kill()
        parent.stdout.close()
        if alive(child):
            os.kill(child, signal.SIGKILL)


def test_without_a_parent_to_watch_nothing_is_started() -> None:
    before = threading.active_count()
    end_with_parent(["pytest"])
    end_with_parent(["pytest", "--parent-pid"])
    assert threading.active_count() == before
