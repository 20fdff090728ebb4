"""What a log is called: in names of folders, in columns of tables, and where a run is told in a line."""

from __future__ import annotations

from pathlib import Path

from common.config import DataConfig
from common.data.known import KNOWN
from common.data.shards import CATALOGUE


def log_name(data: DataConfig) -> str:
    """``data.name``; of a file beside which the name of a known log was left, the name of the file."""
    if not data.path or (data.name and data.name not in KNOWN):
        return data.name
    file = Path(data.path)
    if file.name == CATALOGUE:  # all catalogues have one name: that of their folder says more
        return file.resolve().parent.name
    return file.stem
