"""The HTTP proxy that gRPC takes where the environment names one, and why it lets nobody through."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""Where gRPC looks, in this order; it reads no name in capitals."""

EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
MOST_BYTES = 1 << 14
"""Of a proxy's answer, up to the empty line."""


class ProxyFault(Exception):
    """Why a proxy lets nobody through; ``lasting``: waiting cannot mend it."""

    def __init__(self, text: str, lasting: bool) -> None:
        super().__init__(text)
        self.lasting = lasting


@dataclass(frozen=True)
class Proxy:
    """``variable`` is the name of the environment that has it; ``login`` is never shown."""

    variable: str
    host: str
    port: int
    login: str = ""

    def __str__(self) -> str:
        return f"the proxy {self.host}:{self.port} of {self.variable}"

    def remedy(self, host: str) -> str:
        """How the node goes without it."""
        return f"unset {self.variable}, or have {host} in no_proxy"


def proxy_of(host: str, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy on the way to ``host``, by the rules of gRPC; None without one."""
    variable = next((name for name in VARIABLES if environment.get(name)), "")
    text = environment.get(variable, "")
    try:
        found = urlsplit(text if "://" in text else f"http://{text}")
        port = found.port or 80
    except ValueError:
        return None
    if not text or found.scheme != "http" or not found.hostname:  # gRPC leaves out what it does not speak
        return None
    without = next((environment[name] for name in EXCEPTIONS if environment.get(name)), "")
    if any(_excepted(host, one.strip()) for one in without.split(",")):
        return None
    login = ":".join(unquote(part or "") for part in (found.username, found.password))
    return Proxy(variable, found.hostname, port, login if found.username else "")


def _excepted(host: str, one: str) -> bool:
    """``one`` is the end of a name, or a network in which an address lies."""
    if not one:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(one, strict=False)
    except ValueError:
        return host.lower().endswith(one.lower())


def tunnel(proxy: Proxy, host: str, port: int, wait_s: float) -> socket.socket:
    """A connection to ``host`` through the proxy. Raises ProxyFault."""
    try:
        raw = socket.create_connection((proxy.host, proxy.port), wait_s)
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        raise ProxyFault(f"{proxy} cannot be reached ({why}); {proxy.remedy(host)}", False) from error
    try:
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {at} HTTP/1.1", f"Host: {at}"]
        if proxy.login:
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}")
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        status = _status(raw)
    except OSError as error:
        raw.close()
        why = f"does not answer ({(error.strerror or 'no answer').lower()})"
        raise ProxyFault(f"{proxy} {why}; {proxy.remedy(host)}", False) from error
    if status.startswith("2"):
        return raw
    raw.close()
    refused = f"refuses the way to {at} ({status})" if status else "is no HTTP proxy"
    raise ProxyFault(f"{proxy} {refused}; {proxy.remedy(host)}", not status.startswith("5"))


def _status(raw: socket.socket) -> str:
    """Number and words of the first line; empty where it is no HTTP."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MOST_BYTES and (some := raw.recv(1)):
        head += some  # one at a time: what follows the empty line is the other side's
    found = re.match(rb"HTTP/1\.[01] ([1-5][0-9]{2}[ -~]{0,60})", head)
    return found[1].decode("ascii").strip() if found else ""
