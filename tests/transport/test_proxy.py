"""Proxies in the environment: which one gRPC takes, and what a node says when it lets nobody through."""

from __future__ import annotations

import socket
from collections.abc import Callable

import grpc  # type: ignore[import-untyped]
import pytest

from tests.transport.test_address import plain, server
from transport.address import Fault, probe
from transport.proxy import EXCEPTIONS, VARIABLES, Proxy, proxy_of

HOST = "fed.example.org"


@pytest.fixture(autouse=True)
def no_proxy_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"https_proxy": "http://10.0.0.1:3128"}, Proxy("https_proxy", "10.0.0.1", 3128)),
        ({"http_proxy": "proxy.example.org:8080"}, Proxy("http_proxy", "proxy.example.org", 8080)),
        ({"https_proxy": "http://p"}, Proxy("https_proxy", "p", 80)),
        ({"http_proxy": "http://b:1", "grpc_proxy": "http://a:1"}, Proxy("grpc_proxy", "a", 1)),
        ({"https_proxy": "http://me:p%40ss@p:1"}, Proxy("https_proxy", "p", 1, "me:p@ss")),
        ({"HTTPS_PROXY": "http://p:1"}, None),  # gRPC does not read it
        ({"https_proxy": "socks5://p:1"}, None),
        ({"https_proxy": "http://p:port"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": HOST}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "localhost, .example.org"}, None),
        ({"https_proxy": "http://p:1", "no_grpc_proxy": "example.org"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "example.com,"}, Proxy("https_proxy", "p", 1)),
    ],
)
def test_the_proxy_is_the_one_that_grpc_takes(environment: dict[str, str], found: Proxy | None) -> None:
    assert proxy_of(HOST, environment) == found


def test_a_network_can_be_without_a_proxy() -> None:
    environment = {"https_proxy": "http://p:1", "no_proxy": "192.0.2.0/24"}
    assert proxy_of("192.0.2.10", environment) is None
    assert proxy_of("198.51.100.10", environment) is not None


def answering(text: str) -> Callable[[socket.socket], None]:
    def answer(one: socket.socket) -> None:
        one.recv(1024)
        one.sendall(text.encode())

    return answer


def told(answer: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> Fault | None:
    with server(answer) as port:
        monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{port}")
        return probe(HOST, 9092, None)


@pytest.mark.parametrize(
    ("answer", "words", "lasting"),
    [
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "refuses the way to fed.example.org:9092 (403 Forbidden)",
            True,
        ),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "(407 Proxy Authentication Required)", True),
        ("HTTP/1.0 502 Bad Gateway\r\nVia: x\r\n\r\n", "(502 Bad Gateway)", False),  # it may come up
        ("HTTP/1.1 405 Method \x1b[31mNot\r\n\r\n", "(405 Method)", True),
        ("SSH-2.0-OpenSSH\r\n\r\n", "is no HTTP proxy", True),
        ("", "is no HTTP proxy", True),
    ],
)
def test_a_proxy_that_refuses_is_told_by_its_variable_and_without_its_password(
    answer: str, words: str, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = told(answering(answer), monkeypatch)
    assert fault is not None
    assert fault.lasting is lasting
    assert "the proxy 127.0.0.1:" in fault.text
    assert words in fault.text
    assert fault.text.endswith(f"unset https_proxy, or have {HOST} in no_proxy")
    assert "secret" not in fault.text
    assert "\x1b" not in fault.text


def test_a_proxy_that_is_not_there_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    fault = probe(HOST, 9092, None)
    assert fault is not None
    assert not fault.lasting
    assert f"the proxy 127.0.0.1:{port} of http_proxy cannot be reached (connection refused)" in fault.text


def test_what_is_behind_a_proxy_is_judged_as_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def tunnelling(one: socket.socket) -> None:
        asked.append(one.recv(1024))
        one.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        plain(one)

    assert told(tunnelling, monkeypatch) is None
    assert asked[0].startswith(b"CONNECT fed.example.org:9092 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in asked[0]


def test_grpc_goes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the rules here are those of the library, and not what they were once."""
    asked: list[bytes] = []

    def answer(one: socket.socket) -> None:
        asked.append(one.recv(1024))
        one.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with server(answer) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with grpc.insecure_channel(f"{HOST}:9092") as channel, pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=1.5)
    assert asked[0].startswith(b"CONNECT fed.example.org:9092 HTTP/1.1\r\n")
