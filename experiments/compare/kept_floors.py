"""The floors of a grid's logs, kept beside its results: computed once, however often the grid is started."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from common.data import Dataset, cut
from experiments import floors as rules
from server.records.checkpoint import write_atomically

NAME = "floors.json"
KEY = "key"
PART: Literal["valid", "test"] = "test"
FILTERED = True
"""What a report shows its floors on: the test items, seen items left out of the ranking."""


def keep_floors(folder: Path, logs: Mapping[str, tuple[Dataset, str]]) -> None:
    """Write ``floors.json``: label -> key, Popularity and Markov-1 of the log (and its digest) of that name.

    What is there already stays, unless the log, the split, the ranking or the code that does it has changed
    or the file is damaged. Raises CheckpointError when ``folder`` cannot be written.
    """
    path = folder / NAME
    known = _read(path)
    found: dict[str, Any] = {}
    for label, (dataset, digest) in logs.items():
        key, old = floors_key(digest), known.get(label)
        if isinstance(old, dict) and old.get(KEY) == key:
            found[label] = old
        else:
            found[label] = {KEY: key, **rules.floors(dataset, PART, FILTERED)}
    if found != known:
        write_atomically(path, json.dumps(found, indent=2).encode())


def floors_key(digest: str) -> str:
    """A hash of the log's digest, the split and the ranking; equal keys have equal floors."""
    text = json.dumps([digest, PART, FILTERED, cut.SHORTEST, rules.CUTS, list(rules.FLOORS), _code()])
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    found = hashlib.sha256()
    for module in (rules, cut):
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
