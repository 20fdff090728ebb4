"""Ctrl-C during a run: the round that goes on is finished and saved, then the run ends and says so."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_LOG = logging.getLogger("flwr")


@dataclass
class Stop:
    """Whether somebody asked for the end of the run."""

    asked: bool = False

    def end(self, round_: int, rounds: int, folder: Path) -> None:
        """Raise KeyboardInterrupt, once it is said what ``folder`` has and how to go on."""
        text = (
            "interrupted after round %d of %d; %s has all of it: go on with `fedsieve run --resume --out %s`"
        )
        _LOG.warning(text, round_, rounds, folder, folder)
        raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[Stop]:
    """The first SIGINT asks for the end after this round, a second one is the end at once.

    Where a signal cannot be had (another thread), or somebody else has taken it, nothing changes.
    """
    stop = Stop()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _LOG.warning("this round is finished and saved, then the run ends; Ctrl-C again ends it at once")

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
