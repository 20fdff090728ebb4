"""A signal that comes in the middle of a wait ends it, and does not hang the thread."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import random, signal
from common.stopping import StopEvent

stop = StopEvent()
signal.signal(signal.SIGALRM, lambda *_: stop.set())
for _ in range(4000):
    stop.clear()
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 8e-4))
    while not stop.is_set():
        stop.wait(1e-4)
print("all came through")
"""


def test_thousands_of_signals_in_the_middle_of_waits() -> None:
    """With the event of ``threading`` one in some hundreds hangs."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "all came through\n", ended.stderr
