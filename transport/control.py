"""Enrol nodes: tell a SuperLink's Control API which public keys may connect."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest
from flwr.proto.control_pb2_grpc import ControlStub
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.grpc import GRPC_MAX_MESSAGE_LENGTH, create_channel
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, uses_nist_ec_curve
from grpc import (  # type: ignore[import-untyped]
    Call,
    FutureTimeoutError,
    RpcError,
    StatusCode,
    channel_ready_future,
)

from common.errors import ConfigError, RunError
from common.homes import read_file
from transport.address import await_superlink, parse

WAIT_S = 30.0


def public_key(file: Path) -> bytes:
    """A public key as the SuperLink stores it. Raises ConfigError for a file that has none it takes."""
    found = read_file(file)
    if re.search(rb"BEGIN [A-Z ]*PRIVATE", found):
        raise ConfigError(f"{file}: this is a private key, which stays on its node; give {file}.pub")
    try:
        key = load_ssh_public_key(found)
    except (ValueError, UnsupportedAlgorithm) as error:
        told = "no public key in OpenSSH format, as `fedsieve enroll key FILE` writes it to FILE.pub"
        raise ConfigError(f"{file}: {told}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not uses_nist_ec_curve(key):
        raise ConfigError(f"{file}: expected an elliptic-curve key (ssh-keygen -t ecdsa -b 384)")
    return public_key_to_bytes(key)


def enrol(
    control: str, root_certificates: bytes | None, files: Sequence[Path], wait_s: float = WAIT_S
) -> Mapping[Path, int]:
    """File of a public key -> its node's number at the SuperLink whose Control API is at ``control``.

    A key that is enrolled already keeps its number. Without ``root_certificates`` (PEM) the connection
    is plain text. Raises ConfigError for a bad key, before any is enrolled, and RunError when the SuperLink
    cannot be reached within ``wait_s`` seconds or refuses.
    """
    keys = {file: public_key(file) for file in files}
    with control_stub(control, root_certificates, wait_s) as stub:
        try:
            known = {bytes(node.public_key): int(node.node_id) for node in _nodes(stub)}
            return {file: known.get(key) or _register(stub, key) for file, key in keys.items()}
        except RpcError as error:
            raise RunError(f"{control} does not enrol: {details_of(error)}") from error


def details_of(error: RpcError) -> str:
    """What the other side said, in one line."""
    if not isinstance(error, Call):
        return str(error)
    if error.code() == StatusCode.UNIMPLEMENTED:
        return "that port has no Control API (9093 is usual)"
    return str(error.details()).split("\n")[0][:300]


def _register(stub: ControlStub, key: bytes) -> int:
    return int(stub.RegisterNode(RegisterNodeRequest(public_key=key)).node_id)


def _nodes(stub: ControlStub) -> Sequence[NodeInfo]:
    return list(stub.ListNodes(ListNodesRequest()).nodes_info)


@contextmanager
def control_stub(
    control: str, root_certificates: bytes | None, wait_s: float = WAIT_S
) -> Iterator[ControlStub]:
    """The Control API at ``control``. Raises ConfigError where waiting is in vain, RunError after waiting."""
    end = time.monotonic() + wait_s
    host, port = parse("--control", control, "control")
    await_superlink((host, port), root_certificates, threading.Event(), wait_s)
    channel = create_channel(
        server_address=control,
        insecure=root_certificates is None,
        root_certificates=root_certificates,
        max_message_length=GRPC_MAX_MESSAGE_LENGTH,
    )
    try:
        left = None if math.isinf(wait_s) else max(0.1, end - time.monotonic())
        channel_ready_future(channel).result(timeout=left)
        yield ControlStub(channel)
    except FutureTimeoutError:
        raise RunError(f"{control}: no Control API answers within {wait_s:g} s") from None
    finally:
        channel.close()
