"""The line files of a run: metrics.jsonl and audit.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every line of ``path`` as what it says, one at a time: an audit is long."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def of_training(audit: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The lines about updates; those about replies to an evaluation say so, and are left out."""
    return (line for line in audit if "evaluation" not in line)
