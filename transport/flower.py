"""Which release of Flower is installed, and what the releases keep in different places (1.34 and later).

Flower 1.34 speaks gRPC on every hop. From 1.35 on the ServerApp, and from 1.40 on the nodes, speak HTTP
(docs/flower-versions.md). What this project guards is guarded on gRPC: it refuses to stand open on the rest.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeGuard

from flwr.serverapp import Grid

from common.errors import ConfigError

if TYPE_CHECKING:
    from flwr.superlink.grid.grpc_grid import GrpcGrid

RELEASE = version("flwr")
FIRST_HTTP = 1, 35
"""The first release whose ServerApp has no gRPC grid."""


def speaks_grpc() -> bool:
    """Whether every hop of the installed release is gRPC."""
    major, minor = RELEASE.split(".")[:2]
    return (int(major), int(minor)) < FIRST_HTTP


def need_grpc(what: str) -> None:
    """Raise ConfigError, with ``what`` as the subject, unless every hop of the installed release is gRPC."""
    if not speaks_grpc():
        raise ConfigError(
            f"{what} needs Flower 1.34 (flwr>=1.34,<1.35), given {RELEASE}: see docs/flower-versions.md"
        )


def is_grpc(grid: Grid) -> TypeGuard[GrpcGrid]:
    """Whether a ServerApp reaches its SuperLink through this grid, over gRPC.

    Raises ConfigError for one that does so over HTTP: there, a single reply may hold up all the others.
    """
    if not any(kind.__module__.startswith("flwr.") for kind in type(grid).__mro__ if kind is not Grid):
        return False  # of an emulation, which need not wait two seconds until Flower's grids are imported
    if speaks_grpc():
        return isinstance(grid, import_module("flwr.superlink.grid.grpc_grid").GrpcGrid)
    if isinstance(grid, import_module("flwr.superlink.grid.http_grid").HttpGrid):
        need_grpc("a ServerApp at a SuperLink")
    return False


def node_connection() -> Any:
    """Flower's connection of a node to the Fleet API, over gRPC. Raises ConfigError where there is none."""
    need_grpc("a warm node")
    return import_module("flwr.client.grpc_rere_client.connection").grpc_request_response


def be_a_task() -> None:
    """Let this process make messages: from 1.38 on a Message asks which of Flower's tasks makes it.

    What Flower started knows its numbers, and they stay. All others are 0, which is what 1.34 writes.
    """
    try:
        identity = import_module("flwr.supercore.task_identity").TaskIdentity
    except ModuleNotFoundError:
        return
    for name in ("task_id", "run_id", "node_id"):
        if getattr(identity, f"_{name}") is None:
            setattr(identity, name, 0)
