"""Addresses that are none, and each cause why nothing answers: a line of its own, and no waiting in vain."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import ConfigError, RunError
from experiments.identity import make_authority, make_node_key, make_server
from transport.address import (
    ALERT,
    SETTINGS,
    Fault,
    _secured,
    await_superlink,
    parse,
    probe,
    read_certificates,
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("localhost", "no port; expected HOST:PORT, as in localhost:9092"),
        ("https://localhost:9092", "leave out https://; expected HOST:PORT, as in localhost:9092"),
        ("http://fed.example.org/", "as in fed.example.org:9092"),
        ("grpc://h:1/x", "as in h:1"),
        ("localhost:", "port ''; expected a number from 1 to 65535"),
        ("localhost:0", "port '0'"),
        ("localhost:70000", "port '70000'"),
        ("localhost:ninety", "port 'ninety'"),
        (":9092", "no host"),
        ("me@host:9092", "no host"),
        ("::1", "as in [::1]:9092"),
        ("[::1]", "as in [::1]:9092"),
        ("", "no port"),
    ],
)
def test_what_is_no_address_is_told_with_one_that_is(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse("--superlink", text, "fleet")
    assert str(caught.value).startswith(f"--superlink {text!r}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("localhost:9092", ("localhost", 9092)),
        ("[::1]:1", ("::1", 1)),
        ("192.0.2.1:65535", ("192.0.2.1", 65535)),
    ],
)
def test_an_address_is_host_and_port(text: str, found: tuple[str, int]) -> None:
    assert parse("--superlink", text, "fleet") == found


@pytest.mark.parametrize(
    "content", [None, b"", b"no certificate", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\n"]
)
def test_certificates_that_are_not_there_are_told_with_who_makes_them(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="ca.pem: .*fedsieve enroll ca"):
        read_certificates("--root-certificates", file)


def test_a_key_is_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no certificate in it"):
        read_certificates("--root-certificates", make_node_key(tmp_path / "key"))


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of this machine at which ``answer`` has each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            try:
                while True:
                    one, _ = listener.accept()
                    with one:
                        one.settimeout(5)
                        answer(one)
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def plain(one: socket.socket) -> None:
    """As a gRPC server in plain text: settings, or a hang-up for what is not HTTP/2."""
    if one.recv(64).startswith(b"PRI"):
        one.sendall(bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]))
    else:
        one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def alerting(one: socket.socket) -> None:
    """As a TLS server that is sent plain text."""
    one.recv(64)
    one.sendall(bytes([ALERT, 3, 3, 0, 2, 2, 10]))


def secured(folder: Path) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.set_alpn_protocols(["h2"])

    def answer(one: socket.socket) -> None:
        try:
            with context.wrap_socket(one, server_side=True) as safe:
                safe.recv(1)
        except OSError:
            return

    return answer


def certificates(folder: Path, host: str = "fed.example.org") -> Path:
    authority = folder / "ca.key", folder / "ca.pem"
    make_authority(*authority)
    make_server(folder / "server.key", folder / "server.pem", authority, [host])
    return folder


def lasting(fault: Fault | None) -> str:
    assert fault is not None
    assert fault.lasting
    return fault.text


def test_every_cause_has_a_line_of_its_own(tmp_path: Path) -> None:
    own, other = certificates(tmp_path / "own"), certificates(tmp_path / "other")
    roots = (own / "ca.pem").read_bytes()
    with server(secured(own)) as port:
        assert probe("127.0.0.1", port, roots) is None
        assert probe("localhost", port, roots) is None
        strange = lasting(probe("127.0.0.1", port, (other / "ca.pem").read_bytes()))
    with server(plain) as port:
        assert probe("127.0.0.1", port, None) is None
        untls = lasting(probe("127.0.0.1", port, roots))
    with server(alerting) as port:
        tls = lasting(probe("127.0.0.1", port, None))
    with server(lambda one: one.sendall(b"SSH-2.0-OpenSSH\r\n")) as port:
        foreign = lasting(probe("127.0.0.1", port, None))
    assert "another authority than --root-certificates" in strange
    assert "it speaks plain text, no TLS" in untls
    assert "it speaks TLS, no plain text; give --root-certificates" in tls
    assert "is no SuperLink" in foreign
    assert len({strange, untls, tls, foreign}) == 4


def test_a_name_that_the_certificate_lacks_is_named(tmp_path: Path) -> None:
    own = certificates(tmp_path)
    with server(secured(own)) as port, socket.create_connection(("127.0.0.1", port)) as raw:
        fault = _secured("at", "other.example.org", raw, (own / "ca.pem").read_bytes())
    assert "not for 'other.example.org'" in lasting(fault)
    assert "fedsieve enroll ca --host other.example.org" in lasting(fault)


def test_what_may_pass_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fault = probe("127.0.0.1", port, None)
    assert fault is not None
    assert not fault.lasting
    assert f"nothing listens at port {port}" in fault.text
    unknown = probe("nosuch.invalid", 9092, None)
    assert unknown is not None
    assert not unknown.lasting
    assert "no address is known for 'nosuch.invalid'" in unknown.text


def waits(*faults: Fault | None, wait_s: float = 0.0) -> None:
    left = list(faults)
    await_superlink(
        ("h", 1), None, threading.Event(), wait_s, lambda *_: left.pop(0) if len(left) > 1 else left[0]
    )


def test_waiting_ends_at_once_where_it_is_in_vain_and_in_time_where_it_is_not(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.address.AGAIN_S", 0.01)
    with pytest.raises(ConfigError, match="wrong authority"):
        waits(Fault("wrong authority", True), wait_s=60)
    with pytest.raises(RunError, match=r"away \(given up after 0 s; see --wait\)"):
        waits(Fault("away", False))
    waits(Fault("away", False), Fault("away", False), Fault("far", False), None, wait_s=60)
    assert [r.getMessage() for r in caplog.records] == ["away. Waiting for it", "far. Waiting for it"]


def test_a_node_that_is_stopped_does_not_wait() -> None:
    stop = threading.Event()
    stop.set()
    await_superlink(("h", 1), None, stop, 60, lambda *_: Fault("away", False))
