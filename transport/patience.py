"""How long a node waits for a SuperLink that is away, and which refusals are final."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import cast

from flwr.supercore.retry import RetryInvoker, exponential
from flwr.supercore.retry.retry_invoker import RetryState
from grpc import Call, RpcError, StatusCode  # type: ignore[import-untyped]

from common.logs import event
from transport.pulse import Pulse

_LOG = logging.getLogger(__name__)
RETRY_S = (0.1, 5)


def patience(stop: threading.Event, broken: threading.Event, pulse: Pulse) -> RetryInvoker:
    """Retry while the SuperLink is away; Flower's own invoker would end the process when refused."""

    def hopeless(error: Exception) -> bool:
        code, details = read(error)
        return stop.is_set() or code != StatusCode.UNAVAILABLE or "handshake failed" in details.lower()

    def refused(state: RetryState) -> None:
        # A heartbeat that gives up ends Flower's heartbeat thread: the node would fade away unnoticed.
        heartbeat = "Heartbeat" in str(getattr(state.target, "_method", ""))
        if heartbeat or read(state.exception)[0] == StatusCode.UNAUTHENTICATED:
            broken.set()
            pulse.lost()

    def reached(state: RetryState) -> None:
        pulse.beat()
        if state.tries > 1:
            _LOG.info("the SuperLink is back", extra=event("reachable"))

    def waiting(state: RetryState) -> None:
        pulse.lost()
        if state.tries == 1:
            _LOG.warning("the SuperLink cannot be reached; waiting for it", extra=event("unreachable"))

    return RetryInvoker(
        wait_gen_factory=lambda: exponential(base_delay=RETRY_S[0], max_delay=RETRY_S[1]),
        recoverable_exceptions=RpcError,
        max_tries=None,
        max_time=None,
        on_success=reached,
        on_backoff=waiting,
        on_giveup=refused,
        should_giveup=hopeless,
        wait_function=cast(Callable[[float], None], stop.wait),
    )


def read(error: Exception | None) -> tuple[StatusCode | None, str]:
    """Status and text of a gRPC error."""
    return (error.code(), str(error.details())) if isinstance(error, Call) else (None, str(error))
