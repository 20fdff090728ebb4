"""When a container ends: on SIGTERM or SIGINT, or when the run is over."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

LOOK_S = 0.5


def ending(over: Path, linger_s: float = 0.0) -> threading.Event:
    """An event that is set by SIGTERM, SIGINT, or ``linger_s`` seconds after ``over`` is there."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while not stop.wait(LOOK_S):
            if over.exists() and not stop.wait(linger_s):
                stop.set()

    threading.Thread(target=watch, daemon=True, name="over").start()
    return stop
