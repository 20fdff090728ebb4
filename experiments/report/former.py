"""Files of an earlier report that a new one does not write: they show other results, and are removed.

``.report.json`` says which files a report wrote and what was in them: one that somebody has changed since, or
put there, stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from server.records.checkpoint import write_atomically

KEPT = ".report.json"
PLACES = ("tables", "plots")
"""Folders with files that a report may remove."""


def former(folder: Path) -> list[Path]:
    """The tables and plots in ``folder`` that are as the last report wrote them."""
    return [path for path, digest in _noted(folder).items() if path.is_file() and _digest(path) == digest]


def replace_former(folder: Path, written: Iterable[Path]) -> None:
    """Remove what the last report wrote beside ``written``, and note these. Raises OSError."""
    now = set(written)
    for path in former(folder):
        if path not in now:
            path.unlink()
            with suppress(OSError):  # it holds other files
                path.parent.rmdir()
    noted = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(now)}
    write_atomically(folder / KEPT, json.dumps(noted, indent=2).encode())


def _noted(folder: Path) -> dict[Path, str]:
    """Path -> digest, of the last report; empty where there is none, or its note is damaged."""
    try:
        found = json.loads((folder / KEPT).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {folder / name: digest for name, digest in found.items() if _inside(PurePosixPath(name))}


def _inside(name: PurePosixPath) -> bool:
    return name.parts[:1] in [(place,) for place in PLACES] and ".." not in name.parts


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
