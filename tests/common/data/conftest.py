"""What the tests of the data layer share: files on the spot, and a machine without data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.data import Dataset, load
from common.errors import DataError

WriteLog = Callable[[str, str | bytes], Path]


@pytest.fixture
def write_log(tmp_path: Path) -> WriteLog:
    """Write a small file and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in use and no FEDSIEVE_DATA; returns the cache folder."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("FEDSIEVE_CACHE", str(cache))
    monkeypatch.delenv("FEDSIEVE_DATA", raising=False)
    return cache


@pytest.fixture(scope="session")
def ml_100k() -> Dataset:
    """The real data, fetched if it is not here; skips on a machine that cannot get it."""
    try:
        return load("ml-100k")
    except DataError as error:
        pytest.skip(str(error))
