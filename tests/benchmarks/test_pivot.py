"""Tables of a grid's results as Markdown."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.interval import mean_and_half_width
from benchmarks.pivot import main, only, table


def results() -> pl.DataFrame:
    rows = [
        ("control", 0.1, 0, "done", 0.2, 0.0),
        ("control", 0.1, 1, "done", 0.4, 0.0),
        ("alie", 0.1, 0, "done", 0.15, 0.5),
        ("alie", 0.1, 1, "done", 0.15, 0.25),
        ("control", 0.2, 0, "done", 0.1, 0.0),
        ("alie", 0.2, 0, "failed", 9.0, 9.0),
    ]
    names = ("attack", "malicious_share", "seed", "status", "test.ndcg@10", "er@10")
    return pl.DataFrame(rows, schema=names, orient="row")


def lines(**how: object) -> list[str]:
    values = ["test.ndcg@10", "er@10"]
    return table(results(), "attack", "malicious_share", values, **how).splitlines()  # type: ignore[arg-type]


def test_entries_are_means_over_the_seeds_and_failed_cells_do_not_count() -> None:
    head, _, control, alie = lines()
    assert head == "| attack | test.ndcg@10 at 10% | test.ndcg@10 at 20% | er@10 at 10% | er@10 at 20% |"
    assert control == "| control | 0.3000 | 0.1000 | 0.0 % | 0.0 % |"
    assert alie == "| alie | 0.1500 | – | 37.5 % | – |"


def test_shares_of_a_row_and_the_interval_over_seeds() -> None:
    _, _, control, alie = lines(share_of="control", interval=True)
    assert alie == "| alie | 50.0 % ± 0.0 | – | 37.5 % ± 158.8 | – |"
    assert control.startswith("| control | 100.0 % ± 423.5 | 100.0 % |")


@pytest.mark.parametrize("flag", ["--interval", "--spread"])
def test_the_command_shows_intervals_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    results().write_csv(tmp_path / "results.csv")
    command = ["pivot", str(tmp_path), "--values", "test.ndcg@10"]
    monkeypatch.setattr("sys.argv", command)
    main()
    assert "±" not in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [*command, flag])
    main()
    assert "| control | 0.3000 ± 1.2706 | 0.1000 |" in capsys.readouterr().out


def test_some_cells_alone() -> None:
    found = only(results(), ["seed=1", "malicious_share=0.1"])
    assert found["test.ndcg@10"].to_list() == [0.4, 0.15]


@pytest.mark.parametrize(
    ("wrong", "text"), [("sed=1", "no column 'sed'; valid: attack"), ("attack=x", "valid: control, alie")]
)
def test_a_condition_that_nothing_meets_is_refused(wrong: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        only(results(), [wrong])


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
