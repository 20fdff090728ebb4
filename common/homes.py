"""Paths that begin with ``~``."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import ConfigError


def expanded(path: str | os.PathLike[str]) -> Path:
    """``path`` with the folder that ``~`` or ``~user`` stands for. Raises ConfigError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: there is no home folder of {Path(path).parts[0]}") from None
