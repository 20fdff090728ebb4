"""``fedsieve run --engine ray``: the same run in Flower's Simulation Runtime, nodes on Ray's workers.

What is particular to Ray and to that runtime is in ray_runtime.py.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from client.node import load_app
from common.config import RunConfig
from common.data import Dataset, content_digest
from common.device import available
from common.errors import ConfigError, RunError
from emulation.federation import NodeConfig, app_of, prepared, recurring, repeatable, trusts
from emulation.partitions import partitions
from server.app import serve
from server.nodes.roster import Roster
from server.nodes.waiting import wait_for_nodes
from server.records.own_ids import OwnIds
from server.records.report import Listener
from transport.ray_runtime import CRASHED, Over, backend, interrupting, quiet, root_cause, until

START_S = 300.0
"""How long workers may take to start and to import torch."""


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
        return load_app(*app_of(config))(message, own)


def simulate(
    config: RunConfig,
    out: Path,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    honest: int = 0,
    gpus: float = 0.0,
) -> dict[str, Any]:
    """:func:`emulation.federation.federate` with ``honest`` nodes (0: one a core) and one of the attackers.

    One worker a core of the machine, or of the cluster that ``RAY_ADDRESS`` names; there, the folder above
    ``out`` must be one that all machines see. gpus: the share of a GPU that each worker holds; 1: a worker a
    GPU. Raises ConfigError where Ray is not installed or no GPU is, and for what a simulation cannot do: full
    knowledge, and rules that need a trusted node.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray needs Ray: pip install 'fedsieve[ray]'")
    if gpus and len(available()) == 1 and "RAY_ADDRESS" not in os.environ:
        raise ConfigError(f"--gpus-per-node {gpus:g}: this machine has {', '.join(available())}")
    if config.attack.knowledge == "full":
        raise ConfigError("attack.knowledge: full is for --engine local: no worker sees another's update")
    if trusts(config):
        name = config.strategy.aggregator.name
        raise ConfigError(f"strategy.aggregator: {name} needs a trusted node: --engine local has one")
    dataset, config = prepared(repeatable(config))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent.resolve(), prefix=".nodes-") as folder:
        nodes = partitions(config, dataset, honest or os.cpu_count() or 1, Path(folder))
        return _simulate(config, dataset, nodes, out, resume, listeners, gpus)


def _simulate(
    config: RunConfig,
    dataset: Dataset,
    nodes: Sequence[NodeConfig],
    out: Path,
    resume: bool,
    listeners: Sequence[Listener],
    gpus: float,
) -> dict[str, Any]:
    from flwr.simulation import run_simulation

    app, over, found = ServerApp(), threading.Event(), dict[str, Any]()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        until(over, grid)
        with suppress(Over):
            wait_for_nodes(grid, Roster(config.strategy.quota), 0, len(nodes), START_S)
            summary = serve(
                grid,
                config,
                dataset.num_items,
                out,
                resume,
                listeners,
                data=content_digest(dataset),
                recurring=recurring(dataset),
                own=OwnIds.of(dataset),
            )
            found.update(summary)

    with quiet(), interrupting(over), tempfile.TemporaryDirectory(prefix="ray-") as folder:
        try:
            run_simulation(app, Placed(nodes), len(nodes), backend_config=backend(folder, gpus))
        except RuntimeError as error:
            if CRASHED not in str(error):
                raise  # the ServerApp's own
            raise RunError(f"Ray: {root_cause(error)}") from error
        finally:
            over.set()
    if not found:
        raise KeyboardInterrupt
    return found
