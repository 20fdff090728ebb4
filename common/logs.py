"""What a process says of itself: plain lines, or with ``FEDSIEVE_LOG=json`` one JSON object a line."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from common.errors import ConfigError
from common.printable import LONGEST, json_text, printable_lines

VARIABLE = "FEDSIEVE_LOG"
FORMATS = ("text", "json")
MARK = "    | "
OWN = ("server", "client", "common", "attacks", "transport", "emulation", "experiments", "fedsieve")
"""Loggers whose events are told even below INFO: text has a line a tenth of the run, JSON one a round."""


def event(
    name: str, fields: Mapping[str, object] | None = None, run: int | None = None, round_: int | None = None
) -> dict[str, Any]:
    """``extra=`` of a logging call: the same news for a program.

    >>> event("round", {"admitted": 8}, round_=3)
    {'event': 'round', 'run': None, 'round': 3, 'fields': {'admitted': 8}}
    """
    return {"event": name, "run": run, "round": round_, "fields": dict(fields or {})}


class JsonLines(logging.Formatter):
    """time (UTC), level, event, role, run, round, logger, message, fields and, for a failure, error.

    ``event`` is ``log`` where the caller named none; ``run`` and ``round`` are null where unknown. What JSON
    has no word for (NaN, infinities) becomes null.
    """

    def __init__(self, role: str, run: int | None = None) -> None:
        super().__init__()
        self.role, self.run = role, run

    def format(self, record: logging.LogRecord) -> str:
        run = getattr(record, "run", None)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "role": self.role,
            "run": self.run if run is None else run,
            "round": getattr(record, "round", None),
            "logger": record.name,
            "message": _cut(record.getMessage().strip()),
            "fields": getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = _cut(self.formatException(record.exc_info))
        return json_text(_sayable(line))


class Harmless(logging.Filter):
    """For handlers that write plain lines: a message stays one entry, whatever a stranger wrote into it.

    What acts on a terminal is escaped; lines after the first, those of a trace included, begin with a mark
    that no entry begins with.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True; the record is changed, once."""
        if getattr(record, "harmless", False):
            return True
        record.harmless = True
        record.msg, record.args = printable_lines(record.getMessage().strip("\r"), mark=MARK), ()
        if record.exc_info:
            trace = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_text = MARK + printable_lines(trace, mark=MARK)
        return True


def plain_logs() -> None:
    """From now on no line that this process logs can act on a terminal or pass for another."""
    places = (logging.getLogger("flwr"), *logging.getLogger().handlers, logging.lastResort)
    for place in places:  # all that Flower logs goes by its one logger, which may get its handlers later
        if place is not None and not any(isinstance(found, Harmless) for found in place.filters):
            place.addFilter(Harmless())


def coloured_on_terminals_alone(environment: Mapping[str, str] = os.environ) -> None:
    """Flower colours the level of every line; in a file, or with ``NO_COLOR``, nothing does from now on."""
    for handler in logging.getLogger("flwr").handlers:
        if isinstance(handler, logging.StreamHandler) and hasattr(handler, "colored"):
            handler.colored = handler.stream.isatty() and not environment.get("NO_COLOR")


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def bare(line: str) -> str:
    """A line of Flower's log without colours, and without the mark of its level where that is INFO."""
    line = COLOUR.sub("", line)
    return line.removeprefix("INFO").lstrip(" :") if line.startswith("INFO") else line


def json_logs(
    role: str,
    run: int | None = None,
    environment: Mapping[str, str] = os.environ,
    stream: TextIO | None = None,
) -> bool:
    """From now on all loggers of this process write JSON to ``stream`` (stdout), if the environment says so.

    False, and nothing is touched, where it does not. Raises ConfigError for a format that does not exist.
    """
    wanted = environment.get(VARIABLE, "").strip() or "text"
    if wanted not in FORMATS:
        raise ConfigError(f"{VARIABLE}: {wanted!r}; valid: {', '.join(FORMATS)}")
    if wanted == "text":
        return False
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonLines(role, run))
    handler.addFilter(_worth)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in (*OWN, "flwr"):  # the server's events go by Flower's logger
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger("flwr").handlers.clear()  # its own goes to the console in its own form
    return True


def _worth(record: logging.LogRecord) -> bool:
    told = record.levelno >= logging.INFO or hasattr(record, "event")
    return told and bool(record.getMessage().strip())  # Flower logs empty lines as a rule between sections


def _cut(text: str) -> str:
    """Of a long text the beginning and, as of a trace it says what failed, the end."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]}... ({len(text)} long) ...{text[-LONGEST // 2 :]}"


def _sayable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_cut(str(k)): _sayable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(v) for v in value]
    return value if isinstance(value, bool | int | None) else _cut(str(value))
