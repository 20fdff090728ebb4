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
elif sys.argv[1] == "idle":
    pool = ThreadPoolExecutor()
    pool.submit(print, "worked").result()
else:
    threading.Thread(target=time.sleep, args=(0.2,)).start()
atexit.register(print, "in order")
print("told")
ended(130, grace_s=float(sys.argv[2]))
"""


def end_of(kind: str, grace_s: int = 50) -> tuple[int, str, float]:
    began, command = monotonic(), [sys.executable, "-c", PROGRAM, kind, str(grace_s)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    return ended.returncode, ended.stdout, monotonic() - began


def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    assert end_of("hangs", 1)[:2] == (130, "told\n")


def test_threads_that_end_are_waited_for_and_then_it_ends_in_order() -> None:
    status, told, seconds = end_of("ends")
    assert (status, told) == (130, "told\nin order\n")
    assert seconds >= 0.2


def test_a_pool_that_nobody_closed_ends_in_order_and_at_once() -> None:
    status, told, seconds = end_of("idle")
    assert (status, told) == (130, "worked\ntold\nin order\n")
    assert seconds < 40
