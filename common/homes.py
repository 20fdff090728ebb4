"""Paths that begin with ``~``."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import ConfigError, nearest_file


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of ``path``. Raises ConfigError that says why they cannot be read, and the nearest name."""
    file = expanded(path)
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}{nearest_file(file)}") from error


def expanded(path: str | os.PathLike[str]) -> Path:
    """``path`` with the folder that ``~`` or ``~user`` stands for. Raises ConfigError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: there is no home folder of {Path(path).parts[0]}") from None
