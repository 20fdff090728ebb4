"""The loop of a warm node: receive, let the app answer, send; connect again for as long as it takes."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.app.user_config import UserConfig, UserConfigValue
from flwr.common.config import parse_config_args

from common.errors import ConfigError, RunError
from common.logs import event
from transport.link import Keys, Link, LinkError, Pulse, connect
from transport.messages import App, answer

_LOG = logging.getLogger(__name__)
POLL_S = (0.02, 0.2)
RECONNECT_S = (0.5, 10.0)
MAX_RUNS = 16
THREADS_S = 2.0
NODE_CONFIG = "expected KEY=VALUE pairs with text in double quotes, as in 'part=\"0/4\" seed=3'"


def parse_node_config(text: str) -> UserConfig:
    """Settings written ``a=1 b="x"``, as Flower's own nodes take them. Raises ConfigError."""
    found: UserConfig = {}
    try:
        found = parse_config_args([text])
    except Exception as error:  # click's, tomli's or the system's: Flower's own reader says which of many
        raise ConfigError(f"--node-config {text!r}: {NODE_CONFIG}") from error
    if text.strip() and not found:
        raise ConfigError(f"--node-config {text!r}: {NODE_CONFIG}")
    return found


@contextmanager
def _after_grpc() -> Iterator[None]:
    """Leave after gRPC's threads, which look for a closed channel every .2 s, however the block ends.

    An interpreter that ends while one of them is in gRPC's own code may hang for ever.
    """
    before = set(threading.enumerate())
    try:
        yield
    finally:
        end = time.monotonic() + THREADS_S
        for thread in set(threading.enumerate()) - before:
            if thread.daemon:
                thread.join(max(0.0, end - time.monotonic()))


@_after_grpc()
def run_node(
    client_app: App,
    superlink: str,
    node_config: Mapping[str, UserConfigValue],
    root_certificates: bytes | None = None,
    authentication_keys: Keys | None = None,
    stop: threading.Event | None = None,
    poll: tuple[float, float] = POLL_S,
    pulse: Pulse | None = None,
    wait_s: float = math.inf,
) -> None:
    """Serve ``superlink`` (HOST:PORT of its Fleet API) until ``stop`` is set, then deregister.

    Without ``root_certificates`` (PEM) the connection is plain text. With ``authentication_keys`` the
    node has the identity that was enrolled for them, else a new one each time it connects. Waits between
    two looks grow from ``poll[0]`` to ``poll[1]`` seconds while idle. The SuperLink may be absent or
    restart at any time; ``pulse`` says to the outside whether it is there. Raises ConfigError for keys
    without TLS, which Flower does not take, and RunError for a node that was never let in for ``wait_s``
    seconds.
    """
    if authentication_keys is not None and root_certificates is None:
        raise ConfigError("authentication keys need TLS: give the root certificates too")
    stop = stop or threading.Event()
    contexts: OrderedDict[tuple[int, int], Context] = OrderedDict()
    pause, end, before = RECONNECT_S[0], time.monotonic() + wait_s, ""
    while not stop.is_set():
        try:
            with connect(superlink, root_certificates, authentication_keys, stop, pulse or Pulse()) as link:
                told = event("connected", {"node": link.node_id, "superlink": superlink})
                _LOG.info("node %d is connected to %s", link.node_id, superlink, extra=told)
                pause, end, before = RECONNECT_S[0], math.inf, ""
                _serve(link, client_app, dict(node_config), contexts, stop, poll)
        except LinkError as error:
            if time.monotonic() >= end:
                raise RunError(f"{error} (given up after {wait_s:g} s; see --wait)") from error
            if not stop.is_set() and str(error) != before:
                told = event("disconnected", {"superlink": superlink, "pause": pause})
                _LOG.warning("%s; connecting again in %.1f s", error, pause, extra=told)
                before = str(error)
        stop.wait(pause)
        pause = min(2 * pause, RECONNECT_S[1])


def _serve(
    link: Link,
    client_app: App,
    node_config: UserConfig,
    contexts: OrderedDict[tuple[int, int], Context],
    stop: threading.Event,
    poll: tuple[float, float],
) -> None:
    wait = poll[0]
    while not stop.is_set() and not link.broken.is_set():
        try:
            busy = _step(link, client_app, node_config, contexts)
        except LinkError:
            raise
        except Exception:  # one message is lost, as on a lossy network; the server has its deadline
            _LOG.warning("a message could not be received or answered", exc_info=True)
            busy = False
        wait = poll[0] if busy else min(1.5 * wait, poll[1])
        if not busy:
            stop.wait(wait)


def _step(
    link: Link,
    client_app: App,
    node_config: UserConfig,
    contexts: OrderedDict[tuple[int, int], Context],
) -> bool:
    """Answer one message, if there is one. The app's state is kept for the latest MAX_RUNS runs."""
    message = link.receive()
    if message is None:
        return False
    started = time.monotonic()
    key = link.node_id, message.metadata.run_id
    if key not in contexts:
        config = link.run_config(key[1])
        contexts[key] = Context(key[1], key[0], dict(node_config), RecordDict(), config)
    contexts.move_to_end(key)
    while len(contexts) > MAX_RUNS:
        contexts.popitem(last=False)
    reply = answer(client_app, message, contexts[key])
    seconds = time.monotonic() - started
    link.send(reply, seconds)
    told = _answered(message, reply, seconds)
    _LOG.log(*_line(message, reply, seconds), extra=told)
    return True


KINDS = {"train": "trained", "evaluate": "evaluated"}
"""What an answer was for, in the words of a line on the node's terminal."""


def _line(message: Message, reply: Message, seconds: float) -> tuple[int, str]:
    """Level and text: a line for each round and evaluation; of what failed the app has said why."""
    asked = message.metadata
    if reply.has_error() or asked.message_type not in KINDS:
        return logging.DEBUG, "answered"
    where = f"round {asked.group_id}: " if asked.group_id.isdecimal() else ""
    count = reported(reply.content)
    devices = "" if count is None else f" {count} {'device' if count == 1 else 'devices'}"
    rest = f", {idle} idle," if (idle := reported(reply.content, "idle")) else ""
    return logging.INFO, f"{where}{KINDS[asked.message_type]}{devices}{rest} in {seconds:.1f} s"


def reported(content: RecordDict, array: str = "device") -> int | None:
    """Devices that an answer holds something of, or names in ``array``; None where it does not say."""
    arrays = content.get("arrays")
    device = arrays.get(array) if isinstance(arrays, ArrayRecord) else None
    return int(device.shape[0]) if device is not None and len(device.shape) == 1 else None


def _answered(message: Message, reply: Message, seconds: float) -> dict[str, Any]:
    """The news of one message; the server names its round in the message's group."""
    asked = message.metadata
    round_ = int(asked.group_id) if asked.group_id.isdecimal() else None
    told = {"node": asked.dst_node_id, "kind": asked.message_type, "failed": reply.has_error()}
    return event("answered", {**told, "seconds": round(seconds, 4)}, asked.run_id, round_)
