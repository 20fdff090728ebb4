"""The word that each target gets, and what is counted for it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.target_tables import AGAIN, BOARD, GRIDS, at_most, said, target_table
from experiments.report.statistics import Estimate, estimate
from experiments.report.tables import Table

SPLITS = "test.ndcg@10", "valid.ndcg@10", "q1.ndcg@10"


def test_a_word_follows_from_the_mean_and_its_interval() -> None:
    three = {0: 0.9, 1: 0.96, 2: 1.0}  # .953 ± .125
    assert said(estimate(three), 0.95) == "met"
    assert said(estimate(three), 0.98) == "within chance"
    assert said(estimate(dict.fromkeys(three, 0.9)), 0.98) == "missed"
    assert said(Estimate(0.9, None, 1), 0.98) == "below"
    assert said(None, 0.98) == "–"
    assert [at_most(Estimate(er, 0.01, 3), 0.02) for er in (0.02, 0.025, 0.05)] == [
        *("met", "within chance", "missed")
    ]
    assert at_most(Estimate(0.03, None, 2), 0.02) == "above"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Each grid with the plain mean and the sieve, which keeps 99, 97, 98 % and lets `adaptive` through."""
    ndcg = {"control": 1.0, "parity": 0.99, "slow_reply": 1.05, "label_to_target": 0.9, "adaptive": 0.8}
    reach = {"control": 0.0, "parity": 0.02, "slow_reply": 0.0, "label_to_target": 0.01, "adaptive": 0.1}
    share = {0: 0.99, 1: 0.97, 2: 0.98}
    for grid in (*GRIDS, BOARD):
        runs = [
            {
                **{"cell": f"{rule}{attack}{seed}{malicious}", "data": "log", "model": "sasrec"},
                **{"aggregator": rule, "attack": attack, "seed": seed, "status": "done", "targets": "7"},
                **{"malicious_share": malicious, "er@10": reach[attack] * (1 if rule == "sieve" else 0.5)},
                **dict.fromkeys(SPLITS, 0.1 * (ndcg[attack] * share[seed] if rule == "sieve" else 1.0)),
                **{"weight.q1": 0.9, "weight.q4": 1.0},
            }
            for rule in ("mean", "sieve")
            for attack in ndcg
            for malicious in ((0.05, 0.2) if grid == "shares" else (0.2,))
            for seed in (0, 1, 2)
        ]
        (tmp_path / grid).mkdir()
        pl.DataFrame(runs).write_csv(tmp_path / grid / "results.csv")
    return tmp_path / "targets"


def rows(table: Table, grid: str) -> list[dict[str, object]]:
    titles = [column.title for column in table.columns]
    found = [dict(zip(titles, row, strict=True)) for row in table.rows]
    return [row for row in found if row["Grid"] == grid]


def test_without_an_attack_every_run_counts_once_in_the_sum(kept: Path) -> None:
    table = target_table(kept, "clean")
    one, other = rows(table, "dense")
    assert (one["Items"], other["Items"]) == ("test", "validation")
    assert isinstance(one["Kept"], Estimate)
    assert one["Kept"].mean == pytest.approx(0.98)
    assert (one["Target"], one["Malicious"], one["Seeds"]) == ("met", "20 %", 3)
    assert [row["Malicious"] for row in rows(table, "shares")] == ["5 %", "5 %", "20 %", "20 %"]
    together, _ = rows(table, "all of these")
    assert together["Seeds"] == 3 * len(set(GRIDS) - set(AGAIN))
    assert rows(table, BOARD) == []


def test_what_is_kept_under_attack_is_of_the_oracle_where_there_is_one(kept: Path) -> None:
    found = {row["Attack"]: row for row in rows(target_table(kept, "attacked"), "dense")}
    assert set(found) == {"label_to_target", "adaptive"}  # parity is none, and who does not answer neither
    one = found["label_to_target"]
    assert isinstance(one["Kept"], Estimate)
    assert one["of"] == "oracle"
    assert one["Kept"].mean == pytest.approx(0.882)
    assert one["Target"] == "missed"
    by_share = [row for row in rows(target_table(kept, "attacked"), "shares") if row["Attack"] == "adaptive"]
    assert [row["Malicious"] for row in by_share] == ["5 %", "20 %"]


def test_who_knows_the_sieve_is_measured_by_parity_and_others_by_the_users_they_reach(kept: Path) -> None:
    found = {row["Attack"]: row["Target"] for row in rows(target_table(kept, "exposure"), BOARD)}
    assert found == {"label_to_target": "met", "adaptive": "missed"}


def test_a_short_history_weighs_as_much_as_a_long_one_or_is_told(kept: Path) -> None:
    (one,) = rows(target_table(kept, "quarters"), "lastfm")
    assert (one["Target"], one["Target of the weight"]) == ("met", "missed")


def test_the_first_page_has_both_rules_beside_each_other(kept: Path) -> None:
    first = target_table(kept, "promotion").rows[0]
    assert first[:5] == ["log", "20 %", "0 %, 1 %", "5 %, 10 %", "1 %, 2 %"]
    assert isinstance(first[5], Estimate)
    assert first[5].mean == pytest.approx(8.0)


def test_another_table_is_an_error(kept: Path) -> None:
    with pytest.raises(KeyError, match="valid: clean, attacked, exposure, quarters, promotion"):
        target_table(kept, "nothing")
