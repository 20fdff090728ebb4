"""What an entry of the table is a mean over."""

from __future__ import annotations

import polars as pl

from benchmarks.interval import mean_and_half_width
from benchmarks.pivot import table


def cells(found: list[tuple[int, str, float | None]]) -> pl.DataFrame:
    """One row and column of a table; (seed, rule, value) of its cells."""
    return pl.DataFrame(
        [
            {"attack": "ipm", "malicious_share": 0.2, "seed": seed, "aggregator": rule, "value": value}
            for seed, rule, value in found
        ]
    ).with_columns(status=pl.lit("done"))


def entry(found: pl.DataFrame) -> str:
    return (
        table(found, "attack", "malicious_share", ["value"], interval=True)
        .splitlines()[-1]
        .split("|")[2]
        .strip()
    )


def test_cells_of_one_seed_are_no_seeds_of_their_own() -> None:
    found = [(0, "mean", 0.1), (0, "krum", 0.5), (1, "mean", 0.2), (1, "krum", 0.6), (1, "caf", None)]
    _, half = mean_and_half_width([0.3, 0.4])
    assert entry(cells(found)) == f"0.3500 ± {half:.4f}"


def test_one_seed_has_no_interval() -> None:
    assert entry(cells([(3, "mean", 0.1), (3, "krum", 0.5)])) == "0.3000"


def test_a_seed_with_more_cells_counts_no_more() -> None:
    assert entry(cells([(0, "mean", 0.1), (0, "krum", 0.3), (1, "mean", 0.4)])).startswith("0.3000 ±")
