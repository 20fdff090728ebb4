"""Cases 13 and 18: a node says why it cannot connect, and the walk through separate machines goes through."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from common.data import load, write_shards
from experiments.cli import call
from experiments.identity import make_authority
from tests.transport.test_address import secured, server
from transport.address import probe
from transport.proxy import EXCEPTIONS, VARIABLES

HOSTS = ("fed.example.org", "192.0.2.10")


@pytest.fixture(autouse=True)
def no_proxy_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What steps 1 to 3 of docs/deployment.md make: certificates, a log and a key."""
    hosts = [word for host in HOSTS for word in ("--host", host)]
    assert call(["enroll", "ca", *hosts, "--dir", str(tmp_path)]) == 0
    assert call(["enroll", "key", str(tmp_path / "node.key")]) == 0
    write_shards(load("synthetic", "devices=6,items=30,length=8"), 2, tmp_path / "logs")
    return tmp_path


def said(place: Path, superlink: str, capsys: pytest.CaptureFixture[str], roots: str = "ca.pem") -> str:
    """The one line with which the node ends."""
    options = ["--root-certificates", str(place / roots), "--key", str(place / "node.key")]
    options += ["--data", str(place / "logs" / "node-000.parquet"), "--wait", "0.2"]
    capsys.readouterr()
    assert call(["node", "--superlink", superlink, *options]) == 2
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("fedsieve: ")
    return last


def proxying(then: Callable[[socket.socket], None], answer: str) -> Callable[[socket.socket], None]:
    """A proxy behind which any name is this machine."""

    def serve(one: socket.socket) -> None:
        one.recv(1024)
        one.sendall(f"HTTP/1.1 {answer}\r\n\r\n".encode())
        then(one)

    return serve


@pytest.mark.parametrize(
    ("superlink", "told"),
    [
        ("localhost", "--superlink 'localhost': no port; expected HOST:PORT, as in localhost:9092"),
        ("https://localhost:9092", "leave out https://; expected HOST:PORT, as in localhost:9092"),
        (
            "nosuch.invalid:9092",
            "no address is known for 'nosuch.invalid' (given up after 0.2 s; see --wait)",
        ),
        ("localhost:1", "nothing listens at port 1; is the SuperLink there"),
        ("localhost:9o92", "port '9o92'; expected a number"),
    ],
)
def test_an_address_that_is_none_or_leads_nowhere(
    superlink: str, told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in said(place, superlink, capsys)


@pytest.mark.parametrize(
    ("host", "answer", "told"),
    [
        (
            "other.example.org",
            "200 OK",
            "certificate is not for 'other.example.org'; make one with `fedsieve",
        ),
        ("192.0.2.11", "200 OK", "the server's certificate is not for '192.0.2.11'"),
        ("fed.example.org", "403 Forbidden", "of https_proxy refuses the way to fed.example.org:9092 (403"),
        ("192.0.2.10", "502 Bad Gateway", "refuses the way to 192.0.2.10:9092 (502 Bad Gateway)"),
        ("fed.example.org", "407 Who are you", "unset https_proxy, or have fed.example.org in no_proxy"),
    ],
)
def test_a_wrong_name_and_a_proxy_that_refuses(
    host: str,
    answer: str,
    told: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server(proxying(secured(place), answer)) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert told in said(place, f"{host}:9092", capsys)


def test_a_proxy_that_is_not_there_and_another_authority(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_authority(place / "other.key", place / "other.pem")
    with server(secured(place)) as port:
        other = said(place, f"localhost:{port}", capsys, "other.pem")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        assert "the proxy 127.0.0.1:1 of https_proxy cannot be reached" in said(
            place, f"localhost:{port}", capsys
        )
    assert "the server's certificate is of another authority than --root-certificates" in other


@pytest.mark.parametrize("hosts", [HOSTS, ("localhost",), ("127.0.0.1",), ("::1",), ("*.example.org", "fed")])
def test_keys_and_runs_are_handed_in_at_the_servers_own_machine_whatever_its_names(
    hosts: tuple[str, ...], tmp_path: Path
) -> None:
    """The default of --control is 127.0.0.1:9093, which the certificate of the first step has to serve."""
    assert (
        call(["enroll", "ca", *(w for host in hosts for w in ("--host", host)), "--dir", str(tmp_path)]) == 0
    )
    roots = (tmp_path / "ca.pem").read_bytes()
    with server(secured(tmp_path)) as port:
        assert [probe(host, port, roots) for host in ("127.0.0.1", "localhost")] == [None, None]
