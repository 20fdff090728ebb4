"""``superlink``: Flower's SuperLink with TLS and node authentication, each API on its own network."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO

from rich.console import Console

from common.errors import RunError
from common.printable import LONGEST, printable_log
from experiments.containers.places import (
    CONTROL_HOST,
    CONTROL_PORT,
    FLEET_HOST,
    FLEET_PORT,
    RUNTIME_PORT,
    Places,
    ending,
)
from experiments.processes import module

CHATTER = re.compile(r"^INFO\s*:|^\s*$")
"""One line a call: at five calls a second and node they would fill the disk."""

STOP_S = 8.0
READ = 4 * LONGEST

RESOLVE_S = 10.0
LINGER_S = 4.0
"""So that the nodes can take their leave of a SuperLink that is still there."""


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


def serve_superlink(places: Places, console: Console) -> int:
    """Serve until the run is over; 0 then, else the SuperLink's own exit status.

    The Control API takes runs and keys without a password, so it listens on the network of ``run``
    alone: a node, honest or not, cannot reach it.
    """
    stop = ending(places.over, LINGER_S)
    fleet, control = _address(FLEET_HOST), _address(CONTROL_HOST)
    command = [*module("transport.superlink"), "--enable-supernode-auth"]
    command += ["--disable-runtime-dependency-installation"]
    command += ["--ssl-certfile", str(places.server / "server.pem")]
    command += ["--ssl-keyfile", str(places.server / "server.key")]
    command += ["--ssl-ca-certfile", str(places.certificate)]
    command += ["--fleet-api-address", f"{fleet}:{FLEET_PORT}"]
    command += ["--control-api-address", f"{control}:{CONTROL_PORT}"]
    command += ["--serverappio-api-address", f"127.0.0.1:{RUNTIME_PORT}"]
    if port := os.environ.get("METRICS_PORT", "").strip():
        os.environ["FEDSIEVE_METRICS"] = f"{control}:{port}"  # the ServerApp, a child of this child, reads it
    console.print("listening with TLS: nodes on one network, runs on another", highlight=False)

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return supervise(command, stop, tell)


def _address(host: str) -> str:
    """This container's own address on the network where it is called ``host``."""
    end = time.monotonic() + RESOLVE_S
    while True:
        try:
            return socket.gethostbyname(host)
        except OSError as error:
            if time.monotonic() > end:
                raise RunError(f"{host}: this container has no such name in its networks") from error
            time.sleep(0.2)
