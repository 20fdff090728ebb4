"""``fedsieve run --engine ray``: the same run in Flower's Simulation Runtime, nodes on Ray's workers.

Everything particular to Ray and to the Simulation Runtime of Flower 1.34 is in this file.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from client.node import load_app
from common.config import RunConfig
from common.errors import ConfigError, RunError
from experiments.emulation import NodeConfig, prepared, trusts
from experiments.partitions import partitions
from experiments.run_report import write_report
from server.app import serve
from server.report import Listener
from server.roster import Roster
from server.waiting import wait_for_nodes

START_S = 300.0
"""How long workers may take to start and to import torch."""

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


class Placed(ClientApp):
    """``client.app`` on nodes whose configs lie here: the runtime tells a node its number alone.

    A worker imports all it will need with its first message, an enrolment, and not in a round.
    """

    def __init__(self, nodes: Sequence[NodeConfig]) -> None:
        super().__init__()
        self.nodes = nodes

    def __call__(self, message: Message, context: Context) -> Message:
        config = dict(self.nodes[int(context.node_config["partition-id"])])
        own = Context(context.run_id, context.node_id, config, context.state, context.run_config)
        return load_app("client.app", "app")(message, own)


def simulate(
    config: RunConfig,
    out: Path,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    honest: int = 0,
) -> dict[str, Any]:
    """:func:`experiments.emulation.emulate` with ``honest`` nodes (0: one a core) and one of the attackers.

    One worker a core of the machine, or of the cluster that ``RAY_ADDRESS`` names; there, the folder above
    ``out`` must be one that all machines see. Raises ConfigError where Ray is not installed, and for what
    a simulation cannot do: full knowledge, and rules that need a trusted node.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray needs Ray: pip install 'fedsieve[ray]'")
    if config.attack.knowledge == "full":
        raise ConfigError("attack.knowledge: full is for --engine local: no worker sees another's update")
    if trusts(config):
        name = config.strategy.aggregator.name
        raise ConfigError(f"strategy.aggregator: {name} needs a trusted node: --engine local has one")
    dataset, config = prepared(config)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent.resolve(), prefix=".nodes-") as folder:
        nodes = partitions(config, dataset, honest or os.cpu_count() or 1, Path(folder))
        summary = _simulate(config, dataset.num_items, nodes, out, resume, listeners)
    write_report(out)
    return summary


def _simulate(
    config: RunConfig,
    num_items: int,
    nodes: Sequence[NodeConfig],
    out: Path,
    resume: bool,
    listeners: Sequence[Listener],
) -> dict[str, Any]:
    from flwr.simulation import run_simulation

    app, over, found = ServerApp(), threading.Event(), dict[str, Any]()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        _until(over, grid)
        with suppress(Over):
            wait_for_nodes(grid, Roster(config.strategy.quota), 0, len(nodes), START_S)
            found.update(serve(grid, config, num_items, out, resume, listeners))

    with _quiet(), _interrupting(over), tempfile.TemporaryDirectory(prefix="ray-") as folder:
        try:
            run_simulation(app, Placed(nodes), len(nodes), backend_config=backend(folder))
        except RuntimeError as error:
            if CRASHED not in str(error):
                raise  # the ServerApp's own
            raise RunError(f"Ray: {_root(error)}") from error
        finally:
            over.set()
    if not found:
        raise KeyboardInterrupt
    return found


def backend(folder: str) -> dict[str, Any]:
    """How Flower starts Ray: a worker a core, nothing listening beyond this machine, no dashboard."""
    own = {"_temp_dir": folder, "object_store_memory": STORE_BYTES}
    start = {} if "RAY_ADDRESS" in os.environ else own  # a cluster that is there has its own
    return {
        "init_args": {**start, "include_dashboard": False, "log_to_driver": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }


def _root(error: BaseException) -> BaseException:
    return _root(error.__cause__) if error.__cause__ else error


def _until(over: threading.Event, grid: Grid) -> None:
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
def _interrupting(over: threading.Event) -> Iterator[None]:
    """Set ``over`` at Ctrl-C: Flower waits where the main thread is not woken by it."""
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
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        thread.join()


@contextmanager
def _quiet() -> Iterator[None]:
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
