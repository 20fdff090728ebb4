"""The warm node: one process that stays up and runs its own ClientApp on what the SuperLink sends.

Stock Flower starts a process a message and runs code that the server ships. Here torch is imported
once, and nothing but the installed app ever runs: a server cannot bring its own.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from click import ClickException
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Context, Message, RecordDict
from flwr.app.user_config import UserConfig, UserConfigValue
from flwr.common.config import parse_config_args

from client.flower_link import Keys, Link, LinkError, connect
from client.pulse import Pulse
from common.answering import App, answer
from common.errors import ConfigError
from common.logs import event, json_logs

_LOG = logging.getLogger("client.node")
POLL_S = (0.02, 0.2)
RECONNECT_S = (0.5, 10.0)
MAX_RUNS = 16


def run_node(
    client_app: App,
    superlink: str,
    node_config: Mapping[str, UserConfigValue],
    root_certificates: bytes | None = None,
    authentication_keys: Keys | None = None,
    stop: threading.Event | None = None,
    poll: tuple[float, float] = POLL_S,
    pulse: Pulse | None = None,
) -> None:
    """Serve ``superlink`` (HOST:PORT of its Fleet API) until ``stop`` is set, then deregister.

    Without ``root_certificates`` (PEM) the connection is plain text. With ``authentication_keys`` the
    node has the identity that was enrolled for them, else a new one each time it connects. Waits between
    two looks grow from ``poll[0]`` to ``poll[1]`` seconds while idle. The SuperLink may be absent or
    restart at any time; ``pulse`` says to the outside whether it is there. Raises ConfigError for keys
    without TLS, which Flower does not take.
    """
    if authentication_keys is not None and root_certificates is None:
        raise ConfigError("authentication keys need TLS: give the root certificates too")
    stop = stop or threading.Event()
    contexts: OrderedDict[tuple[int, int], Context] = OrderedDict()
    pause = RECONNECT_S[0]
    while not stop.is_set():
        try:
            with connect(superlink, root_certificates, authentication_keys, stop, pulse or Pulse()) as link:
                told = event("connected", {"node": link.node_id, "superlink": superlink})
                _LOG.info("node %d is connected to %s", link.node_id, superlink, extra=told)
                pause = RECONNECT_S[0]
                _serve(link, client_app, dict(node_config), contexts, stop, poll)
        except LinkError as error:
            if not stop.is_set():
                told = event("disconnected", {"superlink": superlink, "pause": pause})
                _LOG.warning("%s; connecting again in %.1f s", error, pause, extra=told)
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
    _LOG.debug("answered", extra=_answered(message, reply, seconds))
    return True


def _answered(message: Message, reply: Message, seconds: float) -> dict[str, Any]:
    """The news of one message; the server names its round in the message's group."""
    asked = message.metadata
    round_ = int(asked.group_id) if asked.group_id.isdecimal() else None
    told = {"node": asked.dst_node_id, "kind": asked.message_type, "failed": reply.has_error()}
    return event("answered", {**told, "seconds": round(seconds, 4)}, asked.run_id, round_)


def load_keys(path: Path) -> Keys:
    """Read an elliptic-curve private key in OpenSSH format. Raises ConfigError for anything else."""
    try:
        key = load_ssh_private_key(path.expanduser().read_bytes(), None)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: no private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: not an elliptic-curve key (make one with ssh-keygen -t ecdsa)")
    return key, key.public_key()


def load_app(module: str, name: str) -> App:
    """Import an app with all that its first message would import: seconds, before there is a deadline."""
    app: App = getattr(importlib.import_module(module), name)
    if "torch" in sys.modules:
        import torch._dynamo  # noqa: F401  (torch.func.grad would import it when it is first called)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m client.node``: serve until SIGTERM or SIGINT; a second signal ends it at once."""
    parser = argparse.ArgumentParser(prog="python -m client.node", description=__doc__)
    parser.add_argument("--superlink", required=True, metavar="HOST:PORT", help="Fleet API of the SuperLink")
    security = parser.add_mutually_exclusive_group(required=True)
    security.add_argument("--insecure", action="store_true", help="plain text, for tests on one machine")
    security.add_argument("--root-certificates", type=Path, metavar="PEM")
    parser.add_argument("--auth-private-key", type=Path, metavar="FILE", help="the node's enrolled identity")
    parser.add_argument("--node-config", default="", metavar="""'a=1 b="x"'""")
    parser.add_argument("--app", default="client.app:app", metavar="MODULE:NAME", help="the ClientApp to run")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="young while connected: see docs")
    options = parser.parse_args(argv)
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        if not json_logs("node"):
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("flwr").setLevel(logging.INFO)
        config = parse_config_args([options.node_config])
        keys = load_keys(options.auth_private_key) if options.auth_private_key else None
        certificates = None if options.insecure else options.root_certificates.read_bytes()
        module, _, name = options.app.partition(":")
        app = load_app(module, name)
    except (ConfigError, ClickException, OSError, ImportError, AttributeError) as error:
        parser.error(str(error))
    run_node(app, options.superlink, config, certificates, keys, stop, pulse=Pulse(options.ready_file))


if __name__ == "__main__":
    main()
