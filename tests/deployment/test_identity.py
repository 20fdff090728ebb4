"""TLS and enrolled identities: who may connect to a SuperLink, with the warm node's own options."""

from __future__ import annotations

import datetime
import ipaddress
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from experiments.local_deployment import BIN, CONNECTION, SUPERLINK, Deployment
from experiments.processes import Process, listening, wait_until

pytestmark = pytest.mark.deployment
WAIT_S = 60.0


@dataclass
class Secured:
    local: Deployment
    superlink: Process
    certificate: Path


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(private(key, serialization.PrivateFormat.PKCS8))
    return paths


def private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    pem, key = certificate(tmp_path, "server")
    with ExitStack() as stack:
        local = Deployment(tmp_path, stack, {})
        (tmp_path / "flwr").mkdir()
        (tmp_path / "flwr" / "config.toml").write_text(
            f'[superlink.{CONNECTION}]\naddress = "{local.control}"\nroot-certificates = "{pem}"\n'
        )
        command: list[str | Path] = [*SUPERLINK, "--enable-supernode-auth"]
        command += ["--ssl-certfile", pem, "--ssl-keyfile", key, "--ssl-ca-certfile", pem]
        command += ["--fleet-api-address", local.fleet, "--control-api-address", local.control]
        command += ["--serverappio-api-address", local.runtime]
        superlink = local.start("superlink", [*command, "--disable-runtime-dependency-installation"])
        wait_until(lambda: listening(local.fleet) and listening(local.control), WAIT_S, superlink)
        yield Secured(local, superlink, pem)


def start(secured: Secured, name: str, roots: Path, *options: str | Path) -> Process:
    command = [sys.executable, "-m", "client.node", "--superlink", secured.local.fleet, "--app", "json:dumps"]
    return secured.local.start(name, [*command, "--root-certificates", roots, *options])


def test_only_enrolled_keys_and_the_right_server(secured: Secured, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    identity, public = tmp_path / "node.key", tmp_path / "node.pub"
    identity.write_bytes(private(key, serialization.PrivateFormat.OpenSSH))
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    public.write_bytes(key.public_key().public_bytes(*form))

    stranger = start(secured, "stranger", secured.certificate)
    deceived = start(secured, "deceived", certificate(tmp_path, "other")[0], "--auth-private-key", identity)
    node = start(secured, "enrolled", secured.certificate, "--auth-private-key", identity)
    for refused in (stranger, deceived, node):
        wait_until(lambda r=refused: "does not take this node" in r.text(), WAIT_S, refused)  # type: ignore[misc]
    deceived.stop()

    enrol = secured.local.start("enrol", [BIN / "flwr", "supernode", "register", public, CONNECTION])
    assert enrol.popen.wait(WAIT_S) == 0, enrol.text()
    wait_until(lambda: "is connected to" in node.text(), WAIT_S, node)  # it kept trying
    assert "is connected to" not in stranger.text()
    assert "is connected to" not in deceived.text()
    assert node.stop() == 0
