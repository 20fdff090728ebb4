"""A private certificate authority, a server's certificate, and the keys of nodes."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from common.errors import ConfigError
from common.homes import read_file

DAYS = 3650
RENEW_DAYS = 30
OWN_HOSTS = ("localhost", "127.0.0.1")
"""What the server's own machine calls it: keys and runs are handed in there."""


def make_authority(key_file: Path, certificate_file: Path) -> None:
    """A self-signed P-256 authority that may sign servers and no further authorities."""
    if key_file.exists() and certificate_file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "FedSieve private CA")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _dated(x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number()))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(certificate_file, made.public_bytes(Encoding.PEM), 0o644)


def make_server(
    key_file: Path, certificate_file: Path, authority: tuple[Path, Path], hosts: Sequence[str]
) -> bool:
    """A certificate for ``hosts`` (names or addresses) and for this machine, signed by ``authority``.

    ``authority``: its key and certificate. A server certificate that serves these hosts and is not near its
    end is kept (False). Raises ConfigError without hosts, for one that is none, for an authority that cannot
    be read, and where a certificate that is there serves hosts that a new one would not.
    """
    if not hosts:
        raise ConfigError("--host: expected at least one name or address of the server")
    hosts = list(dict.fromkeys([*map(checked_host, hosts), *OWN_HOSTS]))
    issuer_key, issuer = _authority(*authority)
    if key_file.exists() and certificate_file.exists():
        if _serves(certificate_file, issuer, hosts):
            return False
        if dropped := [host for host in hosts_of(certificate_file) if host not in hosts]:
            raise ConfigError(
                f"{certificate_file}: is for {', '.join(hosts_of(certificate_file))}, and without "
                f"{', '.join(dropped)} nodes may not find the server; add "
                f"{' '.join(f'--host {host}' for host in dropped)}, or remove the file"
            )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
    made = (
        _dated(
            x509.CertificateBuilder(issuer.subject, subject, key.public_key(), x509.random_serial_number())
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    _write(key_file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(certificate_file, made.public_bytes(Encoding.PEM), 0o644)
    return True


def make_node_key(key_file: Path) -> Path:
    """A P-384 key pair in OpenSSH format, as Flower's node authentication takes it; the public file.

    A key that is there is kept: it is the node's identity.
    """
    public_file = key_file.with_name(f"{key_file.name}.pub")
    if not (key_file.exists() and public_file.exists()):
        key = ec.generate_private_key(ec.SECP384R1())
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        _write(key_file, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), 0o600)
        _write(public_file, public + b"\n", 0o644)
    return public_file


def _authority(key_file: Path, certificate_file: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    in_key, in_certificate = read_file(key_file), read_file(certificate_file)
    try:
        key = load_pem_private_key(in_key, None)
        certificate = x509.load_pem_x509_certificate(in_certificate)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        told = f"no key without a passphrase, or no certificate in {certificate_file.name}"
        raise ConfigError(f"{key_file}: no certificate authority: {told}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{key_file}: not the key of {certificate_file}")
    return key, certificate


def checked_host(host: str) -> str:
    """``host`` as a certificate has it. Raises ConfigError for what is neither a name nor an address."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if len(host) < 254 and re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", host):
            return host
    raise ConfigError(
        f"--host {host!r}: expected a name or an address without scheme and port, as in fed.example.org"
    )


def hosts_of(file: Path) -> list[str]:
    """Names and addresses that a certificate serves; none for one that cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    return [str(name.value) for name in names]


def _serves(file: Path, issuer: x509.Certificate, hosts: Sequence[str]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # unreadable, of another authority, without names: all mean that it is made anew
        return False
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return sorted(hosts_of(file)) == sorted(hosts) and left.days >= RENEW_DAYS


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _dated(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    begin = now - datetime.timedelta(hours=1)  # clocks of nodes may be behind
    return builder.not_valid_before(begin).not_valid_after(now + datetime.timedelta(days=DAYS))


def _write(file: Path, data: bytes, mode: int) -> None:
    """With its mode from the first byte on: a private key is never readable by others."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        work = file.with_name(f".{file.name}.new")
        work.unlink(missing_ok=True)
        with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(data)
        work.replace(file)
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
