"""One JSON object a line, for whoever asks for it, and nothing else changes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.errors import ConfigError
from common.logs import MARK, OWN, Harmless, JsonLines, bare, event, json_logs, plain_logs
from common.printable import LONGEST
from tests.common.hostile_text import ATTACKS, HOSTILE, check_harmless

KEYS = ["time", "level", "event", "role", "run", "round", "logger", "message", "fields"]
JSON = {"FEDSIEVE_LOG": "json"}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Loggers are global: give them back as they were."""
    loggers = [logging.getLogger(name) for name in (None, "flwr", *OWN)]
    kept = [(one, one.level, list(one.handlers)) for one in loggers]
    yield
    for one, level, handlers in kept:
        one.setLevel(level)
        one.handlers[:] = handlers
        for place in (one, *handlers, logging.lastResort):
            assert place is not None
            place.filters[:] = [found for found in place.filters if not isinstance(found, Harmless)]


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    assert json_logs("server", 12, JSON, stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_one_object_with_all_its_keys(out: io.StringIO) -> None:
    news = event("round", {"admitted": 8.0, "name": "a\nb"}, round_=3)
    logging.getLogger("server.strategy").info("round %d\nof %d", 3, 9, extra=news)
    (line,) = lines(out)
    assert list(line) == KEYS
    assert abs(datetime.fromisoformat(line.pop("time")) - datetime.now(UTC)) < timedelta(minutes=1)
    assert line == {
        "level": "info",
        "event": "round",
        "role": "server",
        "run": 12,
        "round": 3,
        "logger": "server.strategy",
        "message": "round 3\nof 9",
        "fields": {"admitted": 8.0, "name": "a\nb"},
    }


def test_a_plain_call_is_an_object_too_and_an_event_may_name_another_run(out: io.StringIO) -> None:
    logging.getLogger("elsewhere").warning("x")
    logging.getLogger("client.node").info("y", extra=event("answered", run=7))
    assert [(line["event"], line["run"], line["round"]) for line in lines(out)] == [
        ("log", 12, None),
        ("answered", 7, None),
    ]


def test_what_json_cannot_say_does_not_break_a_line(out: io.StringIO) -> None:
    odd: dict[str, object] = {
        "a": float("nan"),
        "b": [float("inf"), 1],
        "c": {2: object},
        "d": None,
        "e": True,
    }
    logging.getLogger("server").info("x", extra=event("odd", odd))
    (line,) = lines(out)
    assert line["fields"] == {"a": None, "b": [None, 1], "c": {"2": str(object)}, "d": None, "e": True}


def test_a_failure_carries_its_trace_in_the_same_line(out: io.StringIO) -> None:
    try:
        raise ValueError("half a message")
    except ValueError:
        logging.getLogger("client").warning("lost", exc_info=True)
    (line,) = lines(out)
    assert line["message"] == "lost"
    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("ValueError: half a message")


def test_our_events_are_told_below_info_and_chatter_is_not(out: io.StringIO) -> None:
    logging.getLogger("client.node").debug("answered", extra=event("answered"))
    logging.getLogger("flwr").debug("round", extra=event("round"))
    logging.getLogger("client.node").debug("no event")
    logging.getLogger("flwr").debug("Flower's own")
    logging.getLogger("flwr").info("")  # its rule between sections
    assert [line["event"] for line in lines(out)] == ["answered", "round"]


def test_flower_writes_no_second_line(out: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    import flwr.common.logger  # noqa: F401  (adds its handler when first imported)

    json_logs("node", None, JSON, out)
    logging.getLogger("flwr").info("hello")
    assert [line["message"] for line in lines(out)] == ["hello"]
    assert "hello" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("value", ["", " ", "text"])
def test_text_stays_as_it_is(value: str) -> None:
    before = list(logging.getLogger().handlers)
    assert not json_logs("server", 1, {"FEDSIEVE_LOG": value})
    assert logging.getLogger().handlers == before
    assert not json_logs("server", 1, {})


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="FEDSIEVE_LOG: 'xml'; valid: text, json"):
        json_logs("server", 1, {"FEDSIEVE_LOG": "xml"})


LOGGED = [name for name in ATTACKS if name != "surrogate"]
"""A lone surrogate in what pytest captures of a log ends pytest-xdist: it has a test without a logger."""


def test_half_a_character_is_formatted_as_well() -> None:
    record = logging.LogRecord("client", 30, "f", 1, "said %s", (ATTACKS["surrogate"],), None)
    line = JsonLines("node").format(record)
    check_harmless(line, 1000)
    assert json.loads(line)["message"] == f"said {ATTACKS['surrogate']}"


@pytest.mark.parametrize("name", LOGGED)
def test_a_strangers_text_is_one_short_line_of_json(name: str, out: io.StringIO) -> None:
    text = ATTACKS[name]
    try:
        raise ValueError(text)
    except ValueError:
        told = event("odd", {"a": text, "b": [text]})
        logging.getLogger("client").warning("said %s", text, exc_info=True, extra=told)
    (line,) = [found for found in out.getvalue().split("\n") if found]
    check_harmless(line, 40_000)
    if name != "huge":
        found = json.loads(line)
        assert found["message"] == f"said {text}".strip()
        assert found["fields"] == {"a": text, "b": [text]}


@pytest.fixture
def plain() -> io.StringIO:
    """The root's plain lines, and those of Flower's logger by a handler that came later."""
    stream = io.StringIO()
    root = logging.StreamHandler(stream)
    root.setFormatter(logging.Formatter("%(levelname)s : %(message)s"))
    logging.getLogger().handlers[:] = [root]
    plain_logs()
    plain_logs()
    logging.getLogger("flwr").handlers[:] = [logging.StreamHandler(stream)]
    return stream


@pytest.mark.parametrize("name", LOGGED)
@pytest.mark.parametrize("logger", ["transport.messages", "flwr"])
def test_a_strangers_text_stays_one_entry_of_a_plain_log(name: str, logger: str, plain: io.StringIO) -> None:
    text = ATTACKS[name]
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger(logger).warning("said %s", text, exc_info=True)
    check_harmless(plain.getvalue(), LONGEST + 50)
    assert len(plain.getvalue()) < 100_000
    entries = [line for line in plain.getvalue().split("\n") if line and not line.startswith(MARK)]
    assert len(entries) == (2 if logger == "flwr" else 1)
    assert f"{MARK}Traceback" in plain.getvalue()
    assert f"{MARK}ValueError: " in plain.getvalue() or name == "huge"


def test_what_nobody_configured_is_harmless_too(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers[:] = []
    plain_logs()
    logging.getLogger("server").warning("said %s, 100%%", HOSTILE)
    told = capsys.readouterr().err
    assert "PWNED" in told
    check_harmless(told, LONGEST + 50)


def test_a_line_of_flowers_log_without_colours_and_level() -> None:
    coloured = "\x1b[92mINFO \x1b[0m:      round 1 of 5: 8 of 8"
    assert bare(coloured) == "round 1 of 5: 8 of 8"
    assert bare("\x1b[93mWARNING \x1b[0m: INFO") == "WARNING : INFO"
    assert bare("a\x1b[2Jb") == "a\x1b[2Jb"  # what acts on the screen is not a colour
