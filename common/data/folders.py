"""Where logs lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from common.homes import expanded


def cache_folder(cache: Path | None = None) -> Path:
    """``cache``, else ``FEDSIEVE_CACHE``, else ``~/.cache/fedsieve``."""
    given = os.environ.get("FEDSIEVE_CACHE")
    return cache or (expanded(given) if given else expanded("~/.cache/fedsieve"))


def data_folder() -> Path | None:
    """``FEDSIEVE_DATA``, if set."""
    given = os.environ.get("FEDSIEVE_DATA")
    return expanded(given) if given else None
