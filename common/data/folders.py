"""Where logs lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(cache: Path | None = None) -> Path:
    """``cache``, else ``FEDSIEVE_CACHE``, else ``~/.cache/fedsieve``."""
    given = os.environ.get("FEDSIEVE_CACHE")
    return cache or (Path(given).expanduser() if given else Path.home() / ".cache" / "fedsieve")


def data_folder() -> Path | None:
    """``FEDSIEVE_DATA``, if set."""
    given = os.environ.get("FEDSIEVE_DATA")
    return Path(given).expanduser() if given else None
