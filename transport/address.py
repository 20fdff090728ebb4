"""Addresses of a SuperLink, and why nothing answers there: each cause in one line of its own."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from common.errors import ConfigError, RunError
from common.homes import expanded
from common.logs import event
from transport.proxy import ProxyFault, proxy_of, tunnel

_LOG = logging.getLogger(__name__)
PROBE_S = 3.0
AGAIN_S = 2.0
USUAL = {"fleet": 9092, "control": 9093, "runtime": 9091}
"""The port of each API where nobody said another."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How HTTP/2 begins: whoever speaks it in plain text answers with settings."""

ALERT, SETTINGS = 0x15, 4
HOSTNAME_MISMATCH, ADDRESS_MISMATCH, EXPIRED = 62, 64, (9, 10)
"""X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH, _CERT_NOT_YET_VALID and _HAS_EXPIRED of OpenSSL."""


@dataclass(frozen=True)
class Fault:
    """Why a SuperLink cannot be reached; ``lasting``: waiting cannot mend it."""

    text: str
    lasting: bool


def parse(option: str, text: str, api: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``. Raises ConfigError that names ``option`` and shows what to write."""
    usual = USUAL[api]
    scheme, mark, rest = text.partition("://")
    if mark:
        host = rest.split("/")[0]
        wanted = host if re.search(r":[0-9]+$", host) else f"{host}:{usual}"
        raise ConfigError(f"{option} {text!r}: leave out {scheme}://; expected HOST:PORT, as in {wanted}")
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or text.endswith("]"):
        wanted = f"[{text.strip('[]')}]" if text.count(":") > 1 else text or "HOST"
        raise ConfigError(f"{option} {text!r}: no port; expected HOST:PORT, as in {wanted}:{usual}")
    if not host or re.search(r"[\s/@]", host):
        raise ConfigError(f"{option} {text!r}: no host; expected HOST:PORT, as in 127.0.0.1:{usual}")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        raise ConfigError(f"{option} {text!r}: port {port!r}; expected a number from 1 to 65535")
    return host.strip("[]"), int(port)


def read_certificates(option: str, file: Path) -> bytes:
    """The PEM certificates of an authority. Raises ConfigError for a file that is not there or has none."""
    try:
        found = expanded(file).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{option} {file}: {error.strerror}; expected the ca.pem that `fedsieve enroll ca` makes"
        ) from error
    try:
        x509.load_pem_x509_certificates(found)
    except ValueError as error:
        raise ConfigError(
            f"{option} {file}: no certificate in it; expected the ca.pem that `fedsieve enroll ca` makes"
        ) from error
    return found


def probe(host: str, port: int, root_certificates: bytes | None, wait_s: float = PROBE_S) -> Fault | None:
    """Why no SuperLink answers there, or None where one seems to. Without certificates it is plain text.

    It goes the way that gRPC will go: through a proxy where the environment names one.
    """
    at, proxy = f"{host}:{port}", proxy_of(host)
    try:
        with (
            tunnel(proxy, host, port, wait_s) if proxy else socket.create_connection((host, port), wait_s)
        ) as raw:
            return _secured(at, host, raw, root_certificates) if root_certificates else _plain(at, raw)
    except ProxyFault as error:
        return Fault(f"{at}: {error}", error.lasting)
    except socket.gaierror:
        return Fault(f"{at}: no address is known for {host!r}", False)
    except ConnectionRefusedError:
        return Fault(
            f"{at}: nothing listens at port {port}; is the SuperLink there, and the port right?", False
        )
    except TimeoutError:
        return Fault(f"{at}: no answer within {wait_s:g} s; is a firewall in between?", False)
    except OSError as error:
        return Fault(f"{at}: {(error.strerror or 'the connection broke').lower()}", False)


def _secured(at: str, host: str, raw: socket.socket, root_certificates: bytes) -> Fault | None:
    context = ssl.create_default_context(cadata=root_certificates.decode("ascii", "ignore"))
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(raw, server_hostname=host):
            return None
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (HOSTNAME_MISMATCH, ADDRESS_MISMATCH):
            remedy = f"make one with `fedsieve enroll ca --host {host}`"
            return Fault(f"{at}: the server's certificate is not for {host!r}; {remedy}", True)
        if error.verify_code in EXPIRED:
            return Fault(f"{at}: the server's certificate is not valid now; is a clock wrong?", True)
        text = "the server's certificate is of another authority than --root-certificates"
        return Fault(f"{at}: {text} ({error.verify_message})", True)
    except ssl.SSLError as error:
        if "WRONG_VERSION" in str(error) or "RECORD" in str(error):
            return Fault(f"{at}: it speaks plain text, no TLS; --insecure is for that, on one machine", True)
        return Fault(f"{at}: TLS fails ({error.reason or 'closed'})", False)


def _plain(at: str, raw: socket.socket) -> Fault | None:
    raw.sendall(PREFACE)
    head = b""
    try:
        while len(head) < 9 and (some := raw.recv(9 - len(head))):
            head += some
    except ConnectionResetError:
        head = b""
    if len(head) == 9 and head[3] == SETTINGS:
        return None
    if not head or head[0] == ALERT:
        return Fault(
            f"{at}: it speaks TLS, no plain text; give --root-certificates ca.pem, not --insecure", True
        )
    return Fault(f"{at}: what listens there is no SuperLink", True)


def await_superlink(
    address: tuple[str, int],
    root_certificates: bytes | None,
    stop: threading.Event,
    wait_s: float,
    look: Callable[[str, int, bytes | None], Fault | None] = probe,
) -> None:
    """Return once a SuperLink answers, or ``stop`` is set; each new reason to wait is told once.

    Raises ConfigError for a fault that lasts, at once, and RunError after ``wait_s`` seconds of waiting.
    """
    end, before = time.monotonic() + wait_s, ""
    while not stop.is_set() and (fault := look(*address, root_certificates)) is not None:
        if fault.lasting:
            raise ConfigError(fault.text)
        if time.monotonic() >= end:
            raise RunError(f"{fault.text} (given up after {wait_s:g} s; see --wait)")
        if fault.text != before:
            _LOG.warning("%s Waiting for it", fault.text.rstrip("?.") + ".", extra=event("unreachable"))
            before = fault.text
        stop.wait(min(AGAIN_S, max(0.01, end - time.monotonic())))
