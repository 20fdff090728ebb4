"""Fixtures of more than one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.federation import Place, federation


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with federation(tmp_path) as made:
        yield made
