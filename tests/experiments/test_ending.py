"""A process that was interrupted ends, whatever its threads wait for."""

from __future__ import annotations

import subprocess
import sys
from time import monotonic

PROGRAM = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from experiments.ending import ended

if sys.argv[1] == "hangs":
    ThreadPoolExecutor().submit(threading.Event().wait)
else:
    threading.Thread(target=time.sleep, args=(0.2,)).start()
atexit.register(print, "in order")
print("told")
ended(130, grace_s=1)
"""


def end_of(kind: str) -> tuple[int, str, float]:
    began = monotonic()
    ended = subprocess.run([sys.executable, "-c", PROGRAM, kind], capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout, monotonic() - began


def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    assert end_of("hangs")[:2] == (130, "told\n")


def test_threads_that_end_are_waited_for_and_then_it_ends_in_order() -> None:
    status, told, seconds = end_of("ends")
    assert (status, told) == (130, "told\nin order\n")
    assert seconds >= 0.2
