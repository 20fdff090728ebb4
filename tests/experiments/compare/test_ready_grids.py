"""The grids that come with the project can be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.compare.cells import expand
from experiments.compare.grid import read_grid

GRIDS = sorted((Path(__file__).resolve().parents[3] / "configs" / "compare").glob("*.yaml"))


def test_there_are_grids() -> None:
    assert {"smoke", "ml-100k-full", "paper"} <= {path.stem for path in GRIDS}


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_cell_of_a_ready_grid_is_valid(path: Path) -> None:
    cells = expand(read_grid(path))
    assert len(cells) > 1
    clean = [cell for cell in cells if cell.config.attack.name == "control"]
    assert clean, "a table without a clean run has nothing to be compared with"
    assert len({tuple(map(str, cell.labels.values())) for cell in cells}) == len(cells)
