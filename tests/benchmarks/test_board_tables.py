"""The leaderboard's tables in docs: what is kept, and every cell that is not is open."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.board_tables import board_table
from experiments.compare.results import write_results
from experiments.report.tables import Table, number

HEAD = {"model": "sasrec", "malicious_share": 0.2, "seed": 0, "status": "done", "error": None}
COSTS = {"targets": "1156", "rounds": 200, "devices_per_round": 64, "start_round": 101}


def one(
    rule: str, attack: str, gain: float, exposed: float = 0.0, data: str = "ml-100k"
) -> dict[str, object]:
    """A finished cell."""
    name = f"{data}-{rule}-{attack}"
    labels = {"cell": name, "data": data, "aggregator": rule, "attack": attack, "rule": rule}
    return {**labels, **HEAD, **COSTS, "test.ndcg@10": gain, "er@10": exposed, "seconds": 10.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cells = [
        one("mean", "control", 0.08),
        one("mean", "parity", 0.08, 0.1),
        one("mean", "label_to_target", 0.04, 1.0),
        one("sieve", "control", 0.076),
        one("sieve", "adaptive(mode=row)", 0.06, 0.2),
        one("mean", "control", 0.03, data="lastfm"),
    ]
    write_results(tmp_path, cells)
    return tmp_path


def column(table: Table, title: str) -> list[object]:
    place = [one.title for one in table.columns].index(title)
    return [row[place] for row in table.rows]


def test_what_is_not_kept_is_open(folder: Path) -> None:
    table = board_table(folder, "state")
    assert sum(number(v) or 0 for v in column(table, "Done")) == 6
    assert sum(number(v) or 0 for v in column(table, "Open")) == 16_200 - 6
    first = table.rows[0]
    assert list(first[:4]) == ["ml-100k", "sasrec", "20 %", 5.0]


def test_figures_are_those_of_the_kept_cells(folder: Path) -> None:
    table = board_table(folder, "scopes")
    rows = {row[0]: row for row in table.rows if (row[1], row[2], row[3]) == ("ml-100k", "sasrec", "20 %")}
    titles = [one.title for one in table.columns]
    mean = dict(zip(titles, rows["mean"], strict=True))
    assert number(mean["Kept, worst"]) == pytest.approx(0.5)
    assert mean["Worst attack"] == "label_to_target"
    assert number(mean["Beyond parity, worst"]) == pytest.approx(0.9)
    sieve = dict(zip(titles, rows["sieve"], strict=True))
    assert number(sieve["Lost without attack"]) == pytest.approx(0.05)
    assert number(dict(zip(titles, rows["krum"], strict=True))["Done"]) == 0


def test_another_table_is_an_error(folder: Path) -> None:
    with pytest.raises(KeyError):
        board_table(folder, "nothing")
