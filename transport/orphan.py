"""A ServerApp ends when its SuperLink is gone, also where Flower's own way out waits for ever (1.34)."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence

_LOG = logging.getLogger(__name__)
OPTION = "--parent-pid"
PATIENCE_S = 8.0
"""For Flower's own way out, which has waits of 3 seconds in it."""


def end_with_parent(argv: Sequence[str] | None = None, patience_s: float = PATIENCE_S) -> None:
    """End this process, at the latest ``patience_s`` seconds after the parent that ``--parent-pid`` names.

    Flower sends itself SIGINT then, and its exit waits for a heartbeat thread that tries to reach the dead
    SuperLink without end: the process would stay, and with it the lock on the run's folder. Without the
    option nothing is watched.
    """
    argv = sys.argv if argv is None else argv
    if OPTION not in argv[:-1]:
        return
    parent = int(argv[argv.index(OPTION) + 1])

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        time.sleep(patience_s)
        _LOG.error("the SuperLink is gone, and this process could not end by itself")
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
