"""A node that answers with errors of its own wording: nothing of it acts in a log, a file or a page."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from flwr.app import Context, Error, Message
from flwr.common.logger import ConsoleHandler

from client.app import app as client_app
from common.logs import Harmless, plain_logs
from common.printable import LIMIT, LONGEST
from experiments.run_report import write_report
from server.round.verdicts import AuditEntry
from tests.common.hostile_text import ATTACKS, HOSTILE, check_harmless
from tests.server.federation import config, node, run, without
from transport.messages import App

HUGE = HOSTILE + ATTACKS["huge"]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the root and Flower's logger write; both are given back as they were."""
    stream = io.StringIO()
    loggers = [logging.getLogger(name) for name in (None, "flwr")]
    kept = [(one, list(one.handlers), list(one.filters)) for one in loggers]
    loggers[0].handlers[:] = [logging.StreamHandler(stream)]
    loggers[1].handlers[:] = [ConsoleHandler(stream=stream, colored=False)]
    yield stream
    for one, handlers, filters in kept:
        one.handlers[:], one.filters[:] = handlers, filters
    assert logging.lastResort is not None
    logging.lastResort.filters[:] = [f for f in logging.lastResort.filters if not isinstance(f, Harmless)]


def wording(kind: str, text: str, raises: bool = False) -> App:
    """The ClientApp; nodes with ``bad`` answer messages of ``kind`` with an error that says ``text``."""

    def app(message: Message, context: Context) -> Message:
        if context.node_config.get("bad") and message.metadata.message_type == kind:
            if raises:
                raise ValueError(text)
            return Message(Error(code=1, reason=text), reply_to=message)
        return client_app(message, without(context, "bad"))

    return app


def check_files(out: Path) -> str:
    """All that the run left and people read; the audit."""
    write_report(out)
    for name in ("audit.jsonl", "metrics.jsonl", "summary.json"):
        text = (out / name).read_text(encoding="utf-8")
        check_harmless(text, 8 * LIMIT)
        for line in text.split("\n") if name.endswith("l") else ():
            if line:
                check_harmless(str(json.loads(line).get("detail", "")), LIMIT + 30)  # also when it is read
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "onerror=alert" not in page
    assert "\x1b" not in page
    return (out / "audit.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["query", "train", "evaluate"])
def test_an_error_of_a_nodes_own_wording(kind: str, tmp_path: Path, log: io.StringIO) -> None:
    nodes = [node("0/2"), node("1/2", bad=True)]
    run(
        config(), tmp_path / "run", nodes, app=wording(kind, HUGE)
    )  # without plain_logs: it is escaped before
    audit = check_files(tmp_path / "run")
    told = {"query": log.getvalue(), "train": audit, "evaluate": audit}[kind]
    assert "PWNED" in told
    check_harmless(log.getvalue(), LONGEST)


@pytest.mark.parametrize("kind", ["query", "train", "evaluate"])
def test_an_exception_of_an_app(kind: str, tmp_path: Path, log: io.StringIO) -> None:
    """As on a node that logs why a server's message made it fail."""
    plain_logs()
    nodes = [node("0/2"), node("1/2", bad=True)]
    run(config(), tmp_path / "run", nodes, app=wording(kind, HUGE, raises=True))
    check_files(tmp_path / "run")
    assert "PWNED" in log.getvalue()
    check_harmless(log.getvalue(), LONGEST + 50)
    assert len(log.getvalue()) < 1_000_000


@pytest.mark.parametrize("name", ATTACKS)
def test_a_line_of_the_audit_is_harmless_when_it_is_read(name: str) -> None:
    line = AuditEntry(1, 2, None, "refused", "failed", ATTACKS[name]).to_json()
    check_harmless(str(line["detail"]), LIMIT + 30)
    assert "\n" not in str(line["detail"])
