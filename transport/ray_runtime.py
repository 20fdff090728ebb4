"""How Flower's Simulation Runtime (1.34) starts Ray, and how it is made to end."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

STORE_BYTES = 2**30
CRASHED = "Ending simulation"
"""What Flower says when it was the runtime that failed."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no word to Ray's makers
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers run this Python and no other
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; the old one warns
}
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
"""Without a cluster: listen on 127.0.0.1 alone, as Ray does by default on other systems than Linux, and take
no call without the token of this run."""


class Over(BaseException):
    """The runtime has ended before the ServerApp. Not an Exception, since the ServerApp survives those."""


def backend(folder: str, gpus: float = 0.0) -> dict[str, Any]:
    """How Flower starts Ray: a worker a core, nothing listening beyond this machine, no dashboard.

    gpus: the share of a GPU that each worker holds, and the only one that it sees; 1 makes it a worker a GPU.
    """
    own = {"_temp_dir": folder, "object_store_memory": STORE_BYTES}
    start = {} if "RAY_ADDRESS" in os.environ else own  # a cluster that is there has its own
    return {
        "init_args": {**start, "include_dashboard": False, "log_to_driver": False},
        "client_resources": {"num_cpus": 1, "num_gpus": gpus},
    }


def root_cause(error: BaseException) -> BaseException:
    return root_cause(error.__cause__) if error.__cause__ else error


def until(over: threading.Event, grid: Grid) -> None:
    """End the ServerApp's thread once nobody answers any more: Flower would leave it to its deadlines."""
    pull, nodes = grid.pull_messages, grid.get_node_ids

    def pull_messages(ids: Iterable[str]) -> Iterable[Message]:
        if over.is_set():
            raise Over
        return pull(ids)

    def get_node_ids() -> Iterable[int]:
        if over.is_set():
            raise Over
        return nodes()

    vars(grid).update(pull_messages=pull_messages, get_node_ids=get_node_ids)


@contextmanager
def interrupting(over: threading.Event) -> Iterator[None]:
    """Set ``over`` at Ctrl-C: Flower waits where the main thread is not woken by it.

    The first Ctrl-C raises nothing, so that Flower's workers end their messages before Ray goes: one that is
    asking Ray for a reply then waits for ever, and the process for it. A second one is the end at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] == signal.SIGINT:
                over.set()
        os.close(reader)

    thread = threading.Thread(target=watch, daemon=True, name="interrupt")
    thread.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, usual))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        signal.set_wakeup_fd(before)
        os.close(writer)
        thread.join()


@contextmanager
def quiet() -> Iterator[None]:
    """No telemetry, no word of Flower that ``run_simulation`` is old, and the environment as it was."""
    from flwr.supercore import telemetry

    def current(record: logging.LogRecord) -> bool:
        return "DEPRECATED FEATURE" not in str(record.msg)

    before, logger = dict(os.environ), logging.getLogger("flwr")
    telemetry.FLWR_TELEMETRY_ENABLED = "0"
    os.environ.update(ENVIRONMENT)
    if "RAY_ADDRESS" not in os.environ:
        os.environ.update(ALONE, RAY_AUTH_TOKEN=secrets.token_hex(32))
    logger.addFilter(current)
    try:
        yield
    finally:
        logger.removeFilter(current)
        os.environ.clear()
        os.environ.update(before)
