"""Where things lie in the containers, and when a container ends."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from common.stopping import StopEvent

SIDES = ("honest", "malicious")
FLEET_HOST, CONTROL_HOST = "superlink-fleet", "superlink-control"
FLEET_PORT, CONTROL_PORT, RUNTIME_PORT = 9092, 9093, 9091

LOOK_S = 0.5


@dataclass(frozen=True)
class Places:
    """Folders of the volumes; each container mounts those it needs and no others.

    authority  the private CA's key: setup alone
    server     the SuperLink's certificate and key: setup and superlink
    public     CA certificate, catalogue, the end of the run: all read, setup and run write
    side       keys, claims and logs of the honest or the malicious nodes: they and run
    results    of the latest run: superlink and run write, results reads
    runs       a folder of the host: results writes
    """

    root: Path = Path("/state")
    results: Path = Path("/results")
    runs: Path = Path("/runs")

    @property
    def authority(self) -> Path:
        return self.root / "authority"

    @property
    def server(self) -> Path:
        return self.root / "server"

    @property
    def public(self) -> Path:
        return self.root / "public"

    @property
    def over(self) -> Path:
        """Exists once the run has ended: every other container then ends by itself."""
        return self.public / "over"

    @property
    def certificate(self) -> Path:
        return self.public / "ca.pem"

    def side(self, name: str) -> Path:
        return self.root / name

    def plan(self, side: str) -> Path:
        """Slot -> node config of this run; absent until the run is prepared."""
        return self.side(side) / "plan.json"


def places() -> Places:
    """Those of the image, or below ``FEDSIEVE_ROOT`` for a test outside a container."""
    root = os.environ.get("FEDSIEVE_ROOT")
    return Places(*(Path(root) / name for name in ("state", "results", "runs"))) if root else Places()


def ending(over: Path, linger_s: float = 0.0) -> threading.Event:
    """An event that is set by SIGTERM, SIGINT, or ``linger_s`` seconds after ``over`` is there."""
    stop = StopEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while not stop.wait(LOOK_S):
            if over.exists() and not stop.wait(linger_s):
                stop.set()

    threading.Thread(target=watch, daemon=True, name="over").start()
    return stop
