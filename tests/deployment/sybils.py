"""Many nodes in one process, each with a connection and an identity of its own: what one attacker can do.

python -m tests.deployment.sybils HOST:PORT '[{"path": …, "attack": "nan"}, …]'
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading

from client.node import load_app
from transport.serving import run_node


def main(superlink: str, configs: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(threadName)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    app = load_app("attacks.app", "app")
    threads = [
        threading.Thread(
            target=run_node, args=(app, superlink, config), kwargs={"stop": stop}, name=config["attack"]
        )
        for config in json.loads(configs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
