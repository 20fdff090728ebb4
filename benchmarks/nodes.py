"""Many warm nodes on one machine: torch is imported once, then the process forks, one for each node.

``python -m benchmarks.nodes HOST:PORT CONFIGS.json`` (a list of node configs). Pages that no node writes to
are shared, so that a node costs what it works with and not what it imports. Each has its own identity and
connection. Nothing that starts threads, gRPC above all, is touched before the fork. SIGTERM to the process
group ends all.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import FORKED
from client.node import load_app
from emulation.federation import app_of
from transport.serving import run_node


def serve(superlink: str, config: dict[str, Any]) -> None:
    """One node, until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Path("/proc/self/comm").write_text(FORKED)  # told apart from the process that only forks
    run_node(load_app(*app_of(config)), superlink, config, stop=stop)


def main(argv: Sequence[str]) -> int:
    superlink, file = argv
    configs = json.loads(Path(file).read_text())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    load_app("attacks.app", "app")  # and client.app with it
    gc.collect()
    gc.freeze()  # a collection would write to every object, and so copy every page
    children = []
    for config in configs:
        if (child := os.fork()) == 0:
            try:
                serve(superlink, config)
            finally:
                os._exit(0)
        children.append(child)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the children have it too, and are waited for
    for child in children:
        os.waitpid(child, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
