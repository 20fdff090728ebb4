"""An event that a signal may set."""

from __future__ import annotations

import threading


class StopEvent(threading.Event):
    """As its base; the handler of a signal may set it, also in a thread that waits for it just then.

    The handler runs in the main thread, wherever that is. Within ``wait`` it holds the event's lock for
    moments, and ``set`` would wait for that lock for ever. This lock may be taken again by the thread that
    holds it; what was missed so is seen when the wait ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cond = threading.Condition(threading.RLock())
