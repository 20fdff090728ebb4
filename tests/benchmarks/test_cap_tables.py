"""The summary of the limits that were tried for the cap."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.cap_tables import COLUMNS, GRIDS, cap_table

GAIN = {"mean": 0.10, "limit .9": 0.09}
REACH = {"control": 0.0, "parity": 0.02, "adaptive": 0.01, "adaptive(mode=encoder)": 0.03}


def test_a_limit_stands_beside_the_mean_and_the_strongest_mode_counts(tmp_path: Path) -> None:
    runs = [
        {
            **{"data": grid, "malicious_share": 0.05, "aggregator": rule, "attack": attack, "seed": seed},
            **{"test.ndcg@10": gain + seed / 100, "valid.ndcg@10": 2 * gain, "er@10": reach * gain},
        }
        for grid in GRIDS
        for rule, gain in GAIN.items()
        for attack, reach in REACH.items()
        for seed in (0, 1)
    ]
    for grid in GRIDS:
        (tmp_path / grid).mkdir()
        pl.DataFrame([one for one in runs if one["data"] == grid]).write_csv(tmp_path / grid / "results.csv")
    found = cap_table(tmp_path / "cap", "limits")
    titles = [column.title for column in COLUMNS]
    rows = [dict(zip(titles, row, strict=True)) for row in found.rows]
    assert [row["Log"] for row in rows] == list(GRIDS)
    first = rows[0]
    assert (first["Malicious"], first["Limit"]) == ("5 %", ".9")
    assert (first["Kept"], first["Kept, validation"]) == (0.90, 0.90)
    assert first["Adaptive, strongest mode"] == pytest.approx(0.003, abs=1e-9)
    assert (first["Parity"], first["Parity under the mean"]) == (0.002, 0.002)


def test_another_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="valid: limits"):
        cap_table(tmp_path, "nothing")
