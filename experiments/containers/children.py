"""A Flower program as a child: its useful lines passed on, ended when the run is over."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO

from common.printable import LONGEST, printable_log

CHATTER = re.compile(r"^INFO\s*:|^\s*$")
"""One line a call: at five calls a second and node they would fill the disk."""

STOP_S = 8.0
READ = 4 * LONGEST


def supervise(
    command: Sequence[str],
    stop: threading.Event,
    tell: Callable[[str], None],
    keep: str = "",
    patience_s: float = STOP_S,
) -> int:
    """Run ``command`` until it ends or ``stop`` is set; its exit status, 0 when it was stopped.

    Stopping is SIGTERM, and SIGKILL after ``patience_s`` seconds.

    Lines of level INFO are dropped, except those that match the pattern ``keep``.
    """
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    worth = re.compile(keep) if keep else None

    def pump() -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for line in entries(lines):
                text = printable_log(line.rstrip())
                if stop.is_set():
                    continue  # how a program takes its end is no news
                if not CHATTER.search(text) or (worth and worth.search(text)):
                    tell(text)

    reader = threading.Thread(target=pump, daemon=True)
    reader.start()
    try:
        while child.poll() is None and not stop.wait(0.2):
            pass
    finally:
        asked = child.poll() is None
        if asked:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(patience_s)
            child.kill()
        child.wait()
        reader.join(1.0)
    return 0 if asked else child.returncode


def entries(stream: IO[bytes]) -> Iterator[str]:
    """Lines that end in a line feed and in nothing else; of a long one the beginning."""
    while line := stream.readline(READ):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(READ)
        yield line.decode("utf-8", "replace")


def program(name: str) -> str:
    """A console script that lies beside this Python."""
    return f"{sys.prefix}/bin/{name}"
