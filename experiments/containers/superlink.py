"""``superlink``: Flower's SuperLink with TLS and node authentication, each API on its own network."""

from __future__ import annotations

import os
import socket
import time

from rich.console import Console

from common.errors import RunError
from experiments.containers.children import supervise
from experiments.containers.ending import ending
from experiments.containers.places import (
    CONTROL_HOST,
    CONTROL_PORT,
    FLEET_HOST,
    FLEET_PORT,
    RUNTIME_PORT,
    Places,
)
from experiments.processes import module

RESOLVE_S = 10.0
LINGER_S = 4.0
"""So that the nodes can take their leave of a SuperLink that is still there."""


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
