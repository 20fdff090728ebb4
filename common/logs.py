"""What a process says of itself: plain lines, or with ``FEDSIEVE_LOG=json`` one JSON object a line."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from common.errors import ConfigError

VARIABLE = "FEDSIEVE_LOG"
FORMATS = ("text", "json")
OWN = ("server", "client", "common", "attacks", "experiments")
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
            "message": record.getMessage().strip(),
            "fields": getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(_sayable(line), ensure_ascii=False)


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


def _sayable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _sayable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(v) for v in value]
    return value if isinstance(value, bool | int | str | None) else str(value)
