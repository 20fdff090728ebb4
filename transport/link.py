"""A node's connection to a SuperLink on Flower's own gRPC (1.34), how long it waits, and its health file."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.app.user_config import UserConfig
from flwr.common.config import get_fused_config_from_fab
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supercore.retry import RetryInvoker, exponential
from flwr.supercore.retry.retry_invoker import RetryState
from flwr.supercore.run import Run
from grpc import Call, RpcError, StatusCode  # type: ignore[import-untyped]

from common.logs import event
from transport.flower import node_connection
from transport.messages import stamp

_LOG = logging.getLogger(__name__)
EVERY_S = 1.0


class Pulse:
    """``beat`` touches ``file`` at most once a second; ``lost`` removes it. Without a file both do nothing.

    Age matters beside existence: a call into a network that drops packets neither succeeds nor fails. An idle
    node calls five times a second, one that trains sends Flower's heartbeat every 30 s: 75 s are too old.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._next = float("-inf")
        self._lock = threading.Lock()  # heartbeats come from a thread of their own

    def beat(self) -> None:
        """A call has succeeded."""
        with self._lock:
            if self._file is not None and self._clock() >= self._next:
                self._next = self._clock() + EVERY_S
                self._try(lambda file: file.touch())

    def lost(self) -> None:
        """The SuperLink cannot be reached, or has refused this node."""
        with self._lock:
            if self._file is not None:
                self._next = float("-inf")
                self._try(lambda file: file.unlink(missing_ok=True))

    def _try(self, act: Callable[[Path], None]) -> None:
        assert self._file is not None
        try:
            act(self._file)
        except OSError as error:  # a node without a health check still trains
            _LOG.warning("%s: %s; it is left alone from now on", self._file, error.strerror)
            self._file = None


RETRY_S = (0.1, 5)


Why = list[StatusCode | str | None]
"""Status and text of the call that was refused for good, once there is one."""


def patience(
    stop: threading.Event, broken: threading.Event, pulse: Pulse, why: Why | None = None
) -> RetryInvoker:
    """Retry while the SuperLink is away; Flower's own invoker would end the process when refused."""
    why = [] if why is None else why

    def hopeless(error: Exception) -> bool:
        code, details = read(error)
        return stop.is_set() or code != StatusCode.UNAVAILABLE or "handshake failed" in details.lower()

    def refused(state: RetryState) -> None:
        why[:] = read(state.exception)
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
            reason = read(state.exception)[1].split("\n")[0][:200]
            text = "the SuperLink cannot be reached (%s); waiting for it"
            _LOG.warning(text, reason, extra=event("unreachable"))

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


def _told(why: Sequence[StatusCode | str | None]) -> str:
    """Why a SuperLink does not take a node, in words of who can mend it."""
    code, details = (*why, None, None)[:2]
    if code in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED):
        return f"its key is not enrolled (`fedsieve enroll add KEY.pub`), or its clock is wrong ({details})"
    if code == StatusCode.UNIMPLEMENTED:
        return "that port has no Fleet API, which is for nodes (9092 is usual)"
    return str(details or "")


def read(error: Exception | None) -> tuple[StatusCode | None, str]:
    """Status and text of a gRPC error."""
    return (error.code(), str(error.details())) if isinstance(error, Call) else (None, str(error))


Keys = tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]

OBJECT_POLL_S = (0.02, 0.5)
OBJECTS_MAX_S = 600.0


class LinkError(Exception):
    """The connection is of no more use: connect again."""


@dataclass(frozen=True)
class Link:
    """One registered node; ``broken`` is set when a call or a heartbeat was refused for good."""

    node_id: int
    broken: threading.Event
    _receive: Callable[[], tuple[Message, ObjectTree] | None]
    _send: Callable[[Message, ObjectTree, float], tuple[set[str], str]]
    _get_run: Callable[[int], Run]
    _get_fab: Callable[[str, int], Fab]
    _pull: Callable[[int, str], bytes]
    _push: Callable[[int, str, str, bytes], None]
    _confirm: Callable[[int, str], None]

    def receive(self) -> Message | None:
        """The next message with its content, or None. Raises :class:`LinkError` if the node is refused."""
        try:
            envelope = self._receive()
        except RpcError as error:
            raise LinkError(f"refused: {read(error)[1]}") from error
        if envelope is None:
            return None
        head, tree = envelope
        run = head.metadata.run_id
        # The server announces a message before its parts are there; Flower would first wait a second.
        message = pull_and_inflate_object_from_tree(
            tree,
            lambda name: self._pull(run, name),
            lambda name: self._confirm(run, name),
            return_type=Message,
            max_time=OBJECTS_MAX_S,
            initial_backoff=OBJECT_POLL_S[0],
            backoff_cap=OBJECT_POLL_S[1],
        )
        return stamp(message, number=tree.object_id)

    def send(self, reply: Message, seconds: float) -> None:
        """Send a reply that took ``seconds`` to compute; one that came too late is dropped by the server."""
        run = reply.metadata.run_id
        stamp(reply, number=reply.object_id)
        with no_object_id_recompute():
            names, session = self._send(reply, get_object_tree(reply), seconds)
            push_objects(
                get_all_nested_objects(reply),
                lambda name, content: self._push(run, session, name, content),
                object_ids_to_push=names,
            )

    def run_config(self, run_id: int) -> UserConfig:
        """The run's settings: the app's defaults with the overrides of ``flwr run``, as Flower merges them.

        The app bundle is opened for its ``pyproject.toml`` alone; its code is never unpacked.
        """
        run = self._get_run(run_id)
        try:
            return get_fused_config_from_fab(self._get_fab(run.fab_hash, run_id).content, run)
        except Exception:
            _LOG.warning("the app bundle of run %d cannot be read; its defaults are not used", run_id)
            return dict(run.override_config)


@contextmanager
def connect(
    superlink: str,
    root_certificates: bytes | None,
    authentication_keys: Keys | None,
    stop: threading.Event,
    pulse: Pulse | None = None,
) -> Iterator[Link]:
    """Register (without keys of its own, under a new identity), send heartbeats, deregister at the end.

    While the SuperLink is away, calls wait for it until ``stop`` is set; ``pulse`` is told of each that
    succeeds and of the first that does not. Raises :class:`LinkError` when registration is refused
    and ConfigError where the installed Flower has no gRPC for nodes.
    """
    broken, pulse, why = threading.Event(), pulse or Pulse(), Why()
    connection = node_connection()(
        superlink,
        root_certificates is None,
        patience(stop, broken, pulse, why),
        root_certificates=root_certificates,
        authentication_keys=authentication_keys,
    )
    try:
        parts = connection.__enter__()
        channel = connection.gen.gi_frame.f_locals.get("channel")
        link = Link(parts[0], broken, *parts[1:])
    except Exception as error:  # Flower logs the true cause and then fails to yield
        raise LinkError(f"{superlink} does not take this node: {_told(why) or error}") from error
    try:
        yield link
    finally:
        try:
            connection.__exit__(None, None, None)
        except Exception:  # its heartbeat thread may be dead, which Flower calls an error
            _LOG.debug("leaving %s", superlink, exc_info=True)
        if channel is not None:  # after such an error Flower leaves it open, with a thread that polls it
            channel.close()
        pulse.lost()
