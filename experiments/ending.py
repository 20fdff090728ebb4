"""How a command ends where its reader goes away, or a scheduler or a closed terminal stops it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO


class Unbroken:
    """A text stream whose reader may go away, as that of ``… | head`` does: what is told then is lost.

    Nothing else is: a run goes on, and its files have all of it. Another reason, as a full disk, is said once
    on stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            print(f"fedsieve: cannot write what is told here: {error.strerror}", file=sys.stderr)


@contextmanager
def ended_as_by_hand() -> Iterator[None]:
    """SIGTERM (of a scheduler, an engine of containers) and SIGHUP (of a closed terminal) are a Ctrl-C."""

    def end(number: int, frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of a program that a script left behind
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    ours = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    main = threading.current_thread() is threading.main_thread()
    for one in ours if main else ():
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in ours if main else ():
            signal.signal(one, signal.SIG_DFL)
