"""What a rule keeps of the mean's accuracy, by the number of attackers that it is told."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.byzantine_tables import byzantine_table
from experiments.report.statistics import Estimate

GAIN = {"mean": {0.05: 0.1, 0.2: 0.1}, "krum": {0.05: 0.05, 0.2: 0.02}, "dnc": {0.05: 0.1, 0.2: 0.09}}


def kept(tmp_path: Path) -> Path:
    runs = [
        {"aggregator": rule, "strategy.byzantine": told, "seed": seed, "test.ndcg@10": (1 + seed) * gain}
        for rule, by_number in GAIN.items()
        for told, gain in by_number.items()
        for seed in (0, 1, 2)
    ]
    pl.DataFrame(runs).write_csv(tmp_path / "results.csv")
    return tmp_path


def test_a_rule_stands_beside_the_mean_and_beside_itself(tmp_path: Path) -> None:
    found = byzantine_table(kept(tmp_path), "cost")
    assert [column.title for column in found.columns] == ["Rule", "told 5 %", "told 20 %", "20 % beside 5 %"]
    means = {str(row[0]): [e.mean for e in row if isinstance(e, Estimate)] for row in found.rows}
    assert list(means) == ["dnc", "krum"], "the cheapest first"
    assert means["dnc"] == pytest.approx([1.0, 0.9, 0.9])
    assert means["krum"] == pytest.approx([0.5, 0.2, 0.4])


def test_another_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="valid: cost"):
        byzantine_table(tmp_path, "nothing")
