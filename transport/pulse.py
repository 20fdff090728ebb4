"""A file that is there, and young, just while calls to the SuperLink succeed: what a health check reads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)
EVERY_S = 1.0

FRESH_S = 75.0
"""A file older than this is a lie: an idle node calls five times a second, one that trains sends Flower's
heartbeat every 30 s."""


class Pulse:
    """``beat`` touches ``file`` at most once a second; ``lost`` removes it. Without a file both do nothing.

    Age matters beside existence: a call into a network that drops packets neither succeeds nor fails.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._next = float("-inf")
        self._lock = threading.Lock()  # heartbeats come from a thread of their own

    def beat(self) -> None:
        """A call has succeeded."""
        with self._lock:
            if self._file is not None and self._clock() >= self._next:
                self._next = self._clock() + EVERY_S
                self._try(lambda file: file.touch())

    def lost(self) -> None:
        """The SuperLink cannot be reached, or has refused this node."""
        with self._lock:
            if self._file is not None:
                self._next = float("-inf")
                self._try(lambda file: file.unlink(missing_ok=True))

    def _try(self, act: Callable[[Path], None]) -> None:
        assert self._file is not None
        try:
            act(self._file)
        except OSError as error:  # a node without a health check still trains
            _LOG.warning("%s: %s; it is left alone from now on", self._file, error.strerror)
            self._file = None
