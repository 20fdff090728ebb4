"""Where logs lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(cache: Path | None = None) -> Path:
    """``cache``, else ``FEDSIEVE_CACHE``, else ``~/.cache/fedsieve``."""
    return cache or Path(os.environ.get("FEDSIEVE_CACHE") or Path.home() / ".cache" / "fedsieve")


def data_folder() -> Path | None:
    """``FEDSIEVE_DATA``, if set."""
    given = os.environ.get("FEDSIEVE_DATA")
    return Path(given) if given else None
