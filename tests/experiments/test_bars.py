"""A strategy beside the oracle."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.bars import read, table

NAMES = (
    *("data", "aggregator", "attack", "malicious_share", "aim", "seed", "status", "er@10", "test.ndcg@10"),
    *("valid.ndcg@10", "q1.ndcg@10", "weight.q1", "weight.q4"),
)
ORACLES = [
    ("log", "mean", "slow_reply", 0.2, "cold", 0, "done", 0.0, 0.10, 0.10, 0.20, 1.0, 1.0),
    ("log", "mean", "slow_reply", 0.2, "cold", 1, "done", 0.0, 0.20, 0.20, 0.20, 1.0, 1.0),
    ("log", "mean", "slow_reply", 0.1, "cold", 2, "done", 0.0, 0.20, 0.20, 0.20, 1.0, 1.0),
]
MINE = [
    ("log", "ours", "push", 0.2, "cold", 0, "done", 0.02, 0.08, 0.10, 0.10, 0.9, 1.0),
    ("log", "ours", "push", 0.2, "medium", 0, "done", 0.04, 0.08, 0.10, 0.10, 0.9, 1.0),
    ("log", "ours", "push", 0.2, "cold", 1, "done", 0.01, 0.20, 0.20, 0.20, 0.9, 1.0),
    ("log", "ours", "push", 0.2, "cold", 2, "done", 0.90, 0.01, 0.01, 0.01, 0.1, 1.0),  # no oracle
    ("log", "ours", "push", 0.2, "cold", 1, "failed", 0.90, 0.01, 0.01, 0.01, 0.1, 1.0),
    ("log", "ours", "parity", 0.2, "cold", 0, "done", 0.01, 0.10, 0.10, 0.20, 0.9, 1.0),
    ("log", "ours", "parity", 0.2, "medium", 0, "done", 0.04, 0.10, 0.10, 0.20, 0.9, 1.0),
    ("log", "ours", "parity", 0.2, "cold", 1, "done", 0.005, 0.20, 0.20, 0.20, 0.9, 1.0),
    ("log", "ours", "parity", 0.1, "cold", 1, "done", 0.9, 0.20, 0.20, 0.20, 0.9, 1.0),
    ("log", "ours", "alone", 0.2, "cold", 0, "done", 0.0, 0.10, 0.10, 0.20, 0.9, 1.0),
]


def grids(tmp_path: Path) -> list[Path]:
    for name, rows in (("oracle", ORACLES), ("mine", MINE)):
        (tmp_path / name).mkdir()
        pl.DataFrame(rows, schema=NAMES, orient="row").write_csv(tmp_path / name / "results.csv")
    return [tmp_path / "oracle", tmp_path / "mine"]


def test_seeds_are_paired_with_their_oracle_and_targets_count_once(tmp_path: Path) -> None:
    """Ratios .9 and 1 to the oracle's; ER .03 and .01, .005 beyond parity's; no seed without an oracle."""
    _, _, push, parity, alone = table(read(grids(tmp_path)), "ours", 0.2).splitlines()
    assert push == (
        "| log | push | 2 | 2.0 ± 12.7 % | 4.0 % | 0.5 ± 0.0 % "
        "| 95.0 ± 63.5 % | 90.0 ± 127.1 % | 75.0 ± 317.7 % | 0.900 |"
    )
    assert parity.startswith("| log | parity | 2 | 1.5 ± 12.7 % | 4.0 % | – | 100.0 ± 0.0 % |")
    assert alone == "| log | alone | 1 | 0.0 % | 0.0 % | -1.0 % | 100.0 % | 100.0 % | 100.0 % | 0.900 |"


@pytest.mark.parametrize(("rule", "share"), [("theirs", 0.2), ("ours", 0.3)])
def test_what_is_not_there_is_told_with_what_is(tmp_path: Path, rule: str, share: float) -> None:
    with pytest.raises(ValueError, match=rf"no cells of '{rule}' \(there are: mean, ours\)"):
        table(read(grids(tmp_path)), rule, share)


def test_without_a_yardstick_nothing_is_said_beyond_it(tmp_path: Path) -> None:
    found = read(grids(tmp_path)).filter((pl.col("attack") != "parity") | (pl.col("seed") == 0))
    push = table(found, "ours", 0.2).splitlines()[2]
    assert " | 4.0 % | – | " in push
