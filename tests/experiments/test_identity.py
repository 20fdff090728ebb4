"""Certificates that a TLS client accepts, keys that stay, and private files that others cannot read."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from client.node import load_keys
from common.errors import ConfigError
from experiments.identity import make_authority, make_node_key, make_server
from transport.control import public_key


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "ca.key", tmp_path / "ca.pem"
    make_authority(*files)
    return files


def server(folder: Path, authority: tuple[Path, Path], *hosts: str) -> tuple[Path, Path, bool]:
    key, certificate = folder / "server.key", folder / "server.pem"
    return key, certificate, make_server(key, certificate, authority, hosts)


def handshake(key: Path, certificate: Path, roots: Path, host: str) -> str:
    """The peer's name as a strict client sees it, over a pair of sockets. Raises ssl.SSLError."""
    ours, theirs = socket.socketpair()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)

    def serve() -> None:
        try:
            with serving.wrap_socket(theirs, server_side=True) as done:
                done.recv(1)
        except (ssl.SSLError, OSError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    context = ssl.create_default_context(cafile=str(roots))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with context.wrap_socket(ours, server_hostname=host) as done:
            found = done.getpeercert()
            done.send(b"x")
    finally:
        ours.close()
        thread.join(5)
    assert found
    return str(found["subject"])


def test_a_strict_client_accepts_the_server_by_each_name(
    tmp_path: Path, authority: tuple[Path, Path]
) -> None:
    key, certificate, new = server(tmp_path, authority, "superlink", "127.0.0.1")
    assert new
    for host in ("superlink", "127.0.0.1"):
        assert "superlink" in handshake(key, certificate, authority[1], host)
    with pytest.raises(ssl.SSLError):
        handshake(key, certificate, authority[1], "elsewhere")


def test_another_authority_is_refused(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    key, certificate, _ = server(tmp_path, authority, "superlink")
    other = tmp_path / "other.key", tmp_path / "other.pem"
    make_authority(*other)
    with pytest.raises(ssl.SSLError):
        handshake(key, certificate, other[1], "superlink")


def test_files_are_kept_until_they_do_not_fit(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    before = [path.read_bytes() for path in authority]
    make_authority(*authority)
    assert [path.read_bytes() for path in authority] == before
    assert server(tmp_path, authority, "a")[2]
    assert not server(tmp_path, authority, "a")[2]
    assert server(tmp_path, authority, "a", "b")[2]  # a new name
    (tmp_path / "server.pem").write_text("damaged")
    assert server(tmp_path, authority, "a", "b")[2]
    other = tmp_path / "new" / "ca.key", tmp_path / "new" / "ca.pem"
    make_authority(*other)
    assert server(tmp_path, other, "a", "b")[2]  # signed by an authority that is gone


def test_private_files_are_for_their_owner_alone(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    key, certificate, _ = server(tmp_path, authority, "a")
    make_node_key(tmp_path / "node")
    for private in (authority[0], key, tmp_path / "node"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600, private
    for public in (authority[1], certificate, tmp_path / "node.pub"):
        assert stat.S_IMODE(public.stat().st_mode) & 0o444 == 0o444, public
    assert x509.load_pem_x509_certificate(authority[1].read_bytes()).public_key()


def test_a_node_key_is_what_both_sides_read_and_stays(tmp_path: Path) -> None:
    public = make_node_key(tmp_path / "keys" / "000")
    assert public == tmp_path / "keys" / "000.pub"
    before = public_key(public)
    assert load_keys(tmp_path / "keys" / "000")[1].curve.name == "secp384r1"
    make_node_key(tmp_path / "keys" / "000")
    assert public_key(public) == before


def test_what_is_no_authority_is_told(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="at least one name"):
        server(tmp_path, authority)
    with pytest.raises(ConfigError, match=r"cannot read \S+none: No such file or directory$"):
        server(tmp_path, (tmp_path / "none", authority[1]), "a")
    (tmp_path / "text").write_text("no key")
    told = "no certificate authority: no key without a passphrase, or no certificate in ca.pem$"
    with pytest.raises(ConfigError, match=told):
        server(tmp_path, (tmp_path / "text", authority[1]), "a")
    other = tmp_path / "other.key", tmp_path / "other.pem"
    make_authority(*other)
    with pytest.raises(ConfigError, match="not the key of"):
        server(tmp_path, (other[0], authority[1]), "a")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*file/key: (Not a directory|File exists)"):
        make_node_key(tmp_path / "file" / "key")


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB nobody"])
def test_a_public_key_that_flower_does_not_take_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pub").write_text(text)
    with pytest.raises(ConfigError, match=r"key\.pub"):
        public_key(tmp_path / "key.pub")
