"""Every YAML block on a page is a valid run, grid, protocol or part of one, or named here as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from common.config import RunConfig
from common.errors import FedSieveError
from common.settings import load
from experiments.compare.grid import GridConfig, expand, read_grid
from experiments.leaderboard.protocol import read_protocol
from experiments.shipped import GRIDS
from tests.docs.pages import PAGES, Block, blocks

FOUND = [block for page in PAGES for block in blocks(page) if block.kind in ("yaml", "yml")]
GRID_KEYS = set(GridConfig.model_fields) - set(RunConfig.model_fields)
HEAD = {"version", "title"}
"""What every protocol of a leaderboard has, and no grid."""
OF_OTHERS = ("services", "apiVersion", "scrape_configs", "groups", "volumes", "kind")
"""Compose, Kubernetes and Prometheus: tests/deployment reads those."""
OF_EXAMPLES = "my_package"
"""A module that its page tells the reader to write; tests/experiments/test_outside_components.py runs it."""


@pytest.mark.parametrize("block", FOUND, ids=[b.place for b in FOUND])
def test_a_block_is_valid(block: Block, tmp_path: Path) -> None:
    found = yaml.safe_load(block.text)
    assert isinstance(found, dict), "no mapping"
    if OF_EXAMPLES in block.text or set(found) & set(OF_OTHERS):
        return
    place = tmp_path / "of-a-page.yaml"
    place.write_text(block.text.replace("../", f"{GRIDS.parent}/"), encoding="utf-8")
    try:
        if set(found) >= HEAD:
            expand(read_protocol(str(place)).grid)
        elif set(found) & GRID_KEYS:
            read_grid(place)
        else:
            load(place)
    except FedSieveError as error:
        raise AssertionError(f"{block.place}: {error}") from error


def test_the_pages_show_yaml() -> None:
    assert len(FOUND) >= 5
