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
from collections.abc import Sequence
from pathlib import Path

from click import ClickException
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from common.errors import ConfigError
from common.homes import read_file
from common.logs import json_logs, plain_logs
from common.stopping import StopEvent
from transport.flower import need_grpc
from transport.link import Keys, Pulse
from transport.messages import App
from transport.serving import parse_node_config, run_node


def load_keys(path: Path) -> Keys:
    """Read an elliptic-curve private key in OpenSSH format. Raises ConfigError for anything else."""
    found = read_file(path)
    if found.startswith((b"ecdsa-", b"ssh-")):
        private = path.with_suffix("")
        raise ConfigError(f"{path}: this is a public key; a node needs the private one, {private}")
    try:
        key = load_ssh_private_key(found, None)
    except TypeError as error:
        raise ConfigError(f"{path}: the key has a passphrase; expected one without") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        told = "no private key in OpenSSH format, as `fedsieve enroll key FILE` writes it to FILE"
        raise ConfigError(f"{path}: {told}") from error
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
    stop = StopEvent()

    def on_signal(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        need_grpc("a warm node")
        if not json_logs("node"):
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
            plain_logs()
        logging.getLogger("flwr").setLevel(logging.INFO)
        config = parse_node_config(options.node_config)
        keys = load_keys(options.auth_private_key) if options.auth_private_key else None
        certificates = None if options.insecure else read_file(options.root_certificates)
        module, _, name = options.app.partition(":")
        if not (module and name):
            raise ConfigError(f"--app {options.app!r}: expected MODULE:NAME, as client.app:app")
        app = load_app(module, name)
    except (ConfigError, ClickException, OSError, ImportError, AttributeError) as error:
        parser.error(str(error))
    try:
        run_node(app, options.superlink, config, certificates, keys, stop, pulse=Pulse(options.ready_file))
    except ConfigError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
