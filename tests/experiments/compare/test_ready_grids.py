"""The grids that come with the project can be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.compare.grid import expand, read_grid

GRIDS = sorted((Path(__file__).resolve().parents[3] / "configs" / "compare").glob("*.yaml"))


def test_there_are_grids() -> None:
    assert {"smoke", "ml-100k-full", "paper"} <= {path.stem for path in GRIDS}


def test_the_grid_of_the_paper_is_what_it_says() -> None:
    cells = expand(read_grid(next(path for path in GRIDS if path.stem == "paper")))
    axes = {(c.labels["data"], c.labels["malicious_share"], c.labels["seed"]) for c in cells}
    shares, data = (0.01, 0.05, 0.1, 0.2), ("ml-100k", "ml-1m", "amazon-beauty")
    assert axes == {(name, share, seed) for name in data for share in shares for seed in (0, 1, 2)}
    pairs = {(c.labels["aggregator"], c.labels["attack"]) for c in cells}
    assert len(cells) == len(axes) * len(pairs)
    assert {("mean", "control"), ("sieve", "adaptive(mode=encoder)")} < pairs


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_cell_of_a_ready_grid_is_valid(path: Path) -> None:
    cells = expand(read_grid(path))
    assert len(cells) > 1
    clean = [cell for cell in cells if cell.config.attack.name == "control"]
    assert clean, "a table without a clean run has nothing to be compared with"
    assert len({tuple(map(str, cell.labels.values())) for cell in cells}) == len(cells)
