"""The warm node on a connection that is faked, and its command line."""

from __future__ import annotations

import base64
import logging
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from grpc import StatusCode  # type: ignore[import-untyped]

from client import node
from common.errors import ConfigError, RunError
from experiments.processes import free_ports
from transport import serving
from transport.link import LinkError, _told, connect

KEYS = ec.generate_private_key(ec.SECP384R1())
FAST = (0.001, 0.002)
app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    count = len(context.state) + 1
    context.state[str(count)] = ConfigRecord()
    told = ConfigRecord({"count": count, **context.node_config, **context.run_config})
    return Message(RecordDict({"told": told}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    raise RuntimeError("broken app")


def task(run: int = 1, kind: str = "train") -> Message:
    message = Message(RecordDict(), 7, kind)
    message.metadata.__dict__.update(_run_id=run, _src_node_id=1, _message_id=f"{id(message)}")
    return message


class FakeLink:
    """Hands out ``script`` (messages, None for idle, exceptions to raise), then stops the node."""

    def __init__(self, stop: threading.Event, *script: Message | Exception | None) -> None:
        self.node_id, self.broken, self.stop, self.script = 7, threading.Event(), stop, list(script)
        self.replies: list[Message] = []
        self.configs_asked: list[int] = []
        self.fail_send: list[Exception] = []

    def receive(self) -> Message | None:
        if not self.script:
            self.stop.set()
            return None
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def send(self, reply: Message, seconds: float) -> None:
        assert seconds >= 0
        if self.fail_send:
            raise self.fail_send.pop()
        self.replies.append(reply)

    def run_config(self, run_id: int) -> dict[str, Any]:
        self.configs_asked.append(run_id)
        return {"run": run_id}


Serve = Callable[..., list[FakeLink]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Run the node on one link after the other; each script is one connection."""

    def run(*scripts: list[Message | Exception | None], fail_send: Exception | None = None) -> list[FakeLink]:
        stop = threading.Event()
        links = [FakeLink(stop, *script) for script in scripts]
        links[0].fail_send = [fail_send] if fail_send else []
        waiting = iter(links)

        @contextmanager
        def fake(*_: object) -> Iterator[FakeLink]:
            yield next(waiting)

        monkeypatch.setattr(serving, "connect", fake)
        monkeypatch.setattr(serving, "RECONNECT_S", FAST)
        serving.run_node(app, "127.0.0.1:1", {"shard": 3}, stop=stop, poll=FAST)
        return links

    return run


def test_a_node_ends_after_the_threads_of_its_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC looks for a closed channel every .2 s; an interpreter that ends before may hang."""
    started: list[threading.Thread] = []
    receive = FakeLink.receive

    def polled(self: FakeLink) -> Message | None:
        started.append(threading.Thread(target=time.sleep, args=(0.3,), daemon=True))
        started[-1].start()
        return receive(self)

    monkeypatch.setattr(FakeLink, "receive", polled)
    serve([])
    assert len(started) == 1
    assert not started[0].is_alive()


def told(reply: Message) -> dict[str, Any]:
    return dict(reply.content["told"])  # type: ignore[arg-type]


def test_it_answers_and_keeps_state_per_run(serve: Serve) -> None:
    (link,) = serve([task(1), None, task(1), task(2), None, task(1)])
    assert [(t["run"], t["count"]) for t in map(told, link.replies)] == [(1, 1), (1, 2), (2, 1), (1, 3)]
    assert {t["shard"] for t in map(told, link.replies)} == {3}
    assert link.configs_asked == [1, 2]  # once a run


def test_an_app_that_raises_is_an_error_reply_and_not_the_end(serve: Serve) -> None:
    (link,) = serve([task(1, "evaluate"), task(1)])
    assert link.replies[0].error.reason == "RuntimeError: broken app"
    assert link.replies[1].has_content()


@pytest.mark.parametrize("where", ["receive", "send"])
def test_a_lost_message_is_not_the_end(serve: Serve, where: str, caplog: pytest.LogCaptureFixture) -> None:
    trouble = ValueError("half a message")
    script: list[Message | Exception | None] = [trouble if where == "receive" else task(), task()]
    (link,) = serve(script, fail_send=trouble if where == "send" else None)
    assert len(link.replies) == 1
    assert "half a message" in caplog.text


def test_a_refused_node_connects_again_and_keeps_its_state(serve: Serve) -> None:
    first, second = serve([task(1), LinkError("refused")], [task(1)])
    assert told(first.replies[0])["count"] == 1
    assert told(second.replies[0])["count"] == 2


def test_a_dead_heartbeat_makes_it_connect_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(link: FakeLink, reply: Message, seconds: float) -> None:
        link.replies.append(reply)
        link.broken.set()

    monkeypatch.setattr(FakeLink, "send", die)
    first, second = serve([task(1), task(1)], [])
    assert len(first.replies) == 1
    assert second.script == []


def test_old_runs_are_forgotten(serve: Serve) -> None:
    (link,) = serve([task(run) for run in [*range(serving.MAX_RUNS + 1), 0]])
    assert told(link.replies[-1])["count"] == 1
    assert link.configs_asked.count(0) == 2


def test_keys_need_tls() -> None:
    with pytest.raises(ConfigError, match="root certificates"):
        serving.run_node(app, "127.0.0.1:1", {}, authentication_keys=(KEYS, KEYS.public_key()))


def test_a_superlink_that_is_not_there_is_waited_for_until_the_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = threading.Event()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    runner = threading.Thread(target=serving.run_node, args=(app, address, {}), kwargs={"stop": stop})
    with caplog.at_level(logging.WARNING):
        runner.start()
        end = time.monotonic() + 20
        while "waiting for it" not in caplog.text and time.monotonic() < end:
            runner.join(0.1)
        assert runner.is_alive()
        stop.set()
        runner.join(10)
    assert not runner.is_alive()
    assert "waiting for it" in caplog.text


def test_a_connection_that_cannot_be_made_is_a_link_error() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(LinkError, match="does not take this node"), connect("127.0.0.1:1", None, None, stop):
        pass


def with_passphrase(pem: bytes) -> bytes:
    """The same file with the head of an encrypted one; to encrypt its body would take another package."""
    first, *lines, last = pem.splitlines(keepends=True)
    body = base64.b64decode(b"".join(lines))
    magic, string = b"openssh-key-v1\0", lambda text: struct.pack(">I", len(text)) + text
    plain = magic + string(b"none") + string(b"none") + string(b"")
    assert body.startswith(plain)
    options = string(b"s" * 16) + struct.pack(">I", 16)
    head = magic + string(b"aes256-ctr") + string(b"bcrypt") + string(options)
    return first + base64.encodebytes(head + body.removeprefix(plain)) + last


def test_keys_are_read_from_openssh_files(tmp_path: Path) -> None:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    good, other, bad = tmp_path / "good", tmp_path / "other", tmp_path / "bad"
    good.write_bytes(KEYS.private_bytes(*form))
    other.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*form))
    bad.write_text("no key")
    assert node.load_keys(good)[0].private_numbers() == KEYS.private_numbers()
    swapped = tmp_path / "good.pub"
    swapped.write_text("ecdsa-sha2-nistp384 AAAA")
    for path, text in (
        (other, "elliptic"),
        (bad, "bad: no private key in OpenSSH format, as `fedsieve enroll key FILE` writes it to FILE$"),
        (tmp_path / "none", r"cannot read \S+none: No such file or directory$"),
        (swapped, r"good\.pub: this is a public key; a node needs the private one, \S+good$"),
    ):
        with pytest.raises(ConfigError, match=text):
            node.load_keys(path)
    locked = tmp_path / "locked"
    locked.write_bytes(with_passphrase(good.read_bytes()))
    with pytest.raises(ConfigError, match="locked: the key has a passphrase; expected one without"):
        node.load_keys(locked)


def test_the_command_line_reaches_the_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_bytes(b"PEM")
    calls: list[tuple[Any, ...]] = []
    signals: dict[int, Any] = {}
    monkeypatch.setattr(node, "run_node", lambda *given, **named: calls.append((*given, named)))
    monkeypatch.setattr(node.signal, "signal", signals.__setitem__)
    modules = {"some.module": SimpleNamespace(mine=app)}
    # the node's own name only: other threads import at the same time
    monkeypatch.setattr(node, "importlib", SimpleNamespace(import_module=modules.__getitem__))
    common = ["--superlink", "h:1", "--app", "some.module:mine", "--node-config", 'a=1 b="x y" c=true']
    node.main([*common, "--root-certificates", str(pem), "--ready-file", str(tmp_path / "ready")])
    (given,) = calls
    assert given[:5] == (app, "h:1", {"a": 1, "b": "x y", "c": True}, b"PEM", None)
    stop = given[5]
    given[6]["pulse"].beat()
    assert (tmp_path / "ready").exists()
    signals[node.signal.SIGTERM](node.signal.SIGTERM, None)
    assert stop.is_set()
    assert signals[node.signal.SIGTERM] == node.signal.SIG_DFL  # a second one ends it at once


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--superlink", "h:1"], "--insecure"),
        (["--superlink", "h:1", "--insecure", "--node-config", "a=oops"], "expected KEY=VALUE pairs"),
        (["--superlink", "h:1", "--insecure", "--app", "no.such.module:app"], "no"),
        (["--superlink", "h:1", "--insecure", "--app", "json:app"], "app"),
        (["--superlink", "h:1", "--root-certificates", "missing.pem"], "missing.pem"),
        (
            ["--superlink", "h:1", "--insecure", "--auth-private-key", "missing"],
            "cannot read missing: No such file or directory\n",
        ),
        (["--superlink", "h:1", "--insecure", "--app", ":app"], "--app ':app': expected MODULE:NAME"),
        (["--superlink", "h:1", "--insecure", "--app", "json"], "--app 'json': expected MODULE:NAME"),
    ],
)
def test_mistakes_on_the_command_line_are_told(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.signal, "signal", lambda *_: None)
    monkeypatch.setattr(node, "run_node", lambda *_: pytest.fail("must not start"))
    with pytest.raises(SystemExit) as stopped:
        node.main(arguments)
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err


def test_a_key_without_tls_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    (tmp_path / "key").write_bytes(KEYS.private_bytes(*form))
    with pytest.raises(SystemExit) as stopped:
        node.main(["--superlink", "h:1", "--insecure", "--auth-private-key", str(tmp_path / "key")])
    assert stopped.value.code == 2
    assert "need TLS" in capsys.readouterr().err


# What a node says on its own terminal.


def test_a_node_says_a_line_a_round(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    rounds = [task(1) for _ in range(2)]
    for number, one in enumerate(rounds, 3):
        one.metadata.__dict__["_group_id"] = str(number)
    serve([None, rounds[0], None, None, rounds[1], task(1), task(1, "evaluate"), None])
    said = [
        r.getMessage() for r in caplog.records if r.name == "transport.serving" and " in " in r.getMessage()
    ]
    assert [text.split(" in ")[0] for text in said] == ["round 3: trained", "round 4: trained", "trained"]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_devices_of_an_answer_are_counted(count: int) -> None:
    device = Array(np.arange(count, dtype=np.int64))
    assert serving.reported(RecordDict({"arrays": ArrayRecord({"device": device})})) == count
    assert serving.reported(RecordDict()) is None
    assert serving.reported(RecordDict({"arrays": ConfigRecord({"device": 3})})) is None


def test_a_node_that_is_never_let_in_gives_up_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def refused(*_: object) -> Iterator[FakeLink]:
        raise LinkError("h:1 does not take this node: its key is not enrolled")
        yield

    monkeypatch.setattr(serving, "connect", refused)
    monkeypatch.setattr(serving, "RECONNECT_S", FAST)
    with pytest.raises(RunError, match=r"its key is not enrolled \(given up after 0.05 s; see --wait\)"):
        serving.run_node(app, "h:1", {}, poll=FAST, wait_s=0.05)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (StatusCode.UNAUTHENTICATED, "its key is not enrolled"),
        (StatusCode.PERMISSION_DENIED, "its key is not enrolled"),
        (StatusCode.UNIMPLEMENTED, "has no Fleet API"),
        (StatusCode.INTERNAL, "broken"),
        (None, "broken"),
    ],
)
def test_why_a_node_is_not_taken_is_told_in_words_of_who_can_mend_it(code: Any, told: str) -> None:
    assert told in _told([code, "broken"])
