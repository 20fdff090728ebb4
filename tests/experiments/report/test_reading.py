"""What is read from a grid folder, and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from common.errors import RunError
from experiments.report.reading import read_grid
from tests.experiments.report.samples import FLOORS, Shape, row, rows, write


def test_labels_stay_texts_and_metrics_become_numbers(tmp_path: Path) -> None:
    for number, name in enumerate(("123456789012", "1e1234567890", "000000000001")):
        one = row("synthetic", "sasrec", "krum", "nan", 0.2, 0, cell=name) | {"strategy.byzantine": 0.1}
        (cell,) = read_grid(write(tmp_path / str(number), [one])).cells
        assert cell.id == name
        assert cell.settings == {"strategy.byzantine": "0.1"}
        assert cell.label("malicious_share") == "0.2"
        assert cell.values["test.ndcg@10"] == pytest.approx(one["test.ndcg@10"])
        assert "clipped_rows" not in cell.values
        assert (cell.seed, cell.done) == (0, True)


def test_parquet_and_csv_hold_the_same(tmp_path: Path) -> None:
    found = rows(Shape(attacks=("control", "nan"), seeds=(0, 1)))
    folder = write(tmp_path, found, curves=False)
    expected = read_grid(folder)
    pl.DataFrame(found, infer_schema_length=None).write_parquet(folder / "results.parquet")
    (folder / "results.csv").unlink()
    grid = read_grid(folder)
    assert [c.labels for c in grid.cells] == [c.labels for c in expected.cells]
    assert grid.cells[3].values == pytest.approx(expected.cells[3].values)
    assert grid.floors == {"synthetic": FLOORS}
    assert "strategies: [mean, sieve]" in grid.settings


def test_values_that_are_not_finite_count_as_not_measured(tmp_path: Path) -> None:
    one = row("synthetic", "sasrec", "mean", "nan", 0.2, 0) | {"test.ndcg@10": "nan", "er@10": "inf"}
    (cell,) = read_grid(write(tmp_path, [one], curves=False)).cells
    assert "test.ndcg@10" not in cell.values
    assert "er@10" not in cell.values


def test_floors_and_settings_may_be_absent(tmp_path: Path) -> None:
    folder = write(tmp_path, rows(Shape(seeds=(0,))), curves=False)
    (folder / "floors.json").unlink()
    (folder / "grid.yaml").unlink()
    grid = read_grid(folder)
    assert (grid.floors, grid.settings) == ({}, "")


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no results\.csv of fedsieve compare"):
        read_grid(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        read_grid(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": "one"}, r"line 2: seed 'one' is not a whole number"),
        ({"seed": None}, r"line 2: seed is empty"),
        ({"test.ndcg@10": "high"}, r"line 2: test\.ndcg@10 'high' is not a number"),
        ({"malicious_share": "many"}, r"line 2: malicious_share 'many' is not a number"),
    ],
)
def test_a_wrong_value_is_told_by_line_and_column(
    tmp_path: Path, changes: dict[str, str | None], told: str
) -> None:
    one = row("synthetic", "sasrec", "mean", "nan", 0.2, 0) | changes
    with pytest.raises(RunError, match=told):
        read_grid(write(tmp_path, [one], curves=False))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("results.csv", "cell,data\nabc,x\n", r"no column model, aggregator, .*needed: cell, data"),
        ("results.csv", "", "holds no finished cell yet"),
        ("floors.json", "{", "damaged results"),
        ("floors.json", "[1]", "expected an object by data set"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, name: str, content: str, told: str) -> None:
    folder = write(tmp_path, rows(Shape(seeds=(0,))), curves=False)
    (folder / name).write_text(content)
    with pytest.raises(RunError, match=told):
        read_grid(folder)


def test_a_table_without_rows_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path, rows(Shape(seeds=(0,))), curves=False)
    head = (folder / "results.csv").read_text().splitlines()[0]
    (folder / "results.csv").write_text(head + "\n")
    with pytest.raises(RunError, match="no finished cell"):
        read_grid(folder)


def test_a_folder_is_no_pattern(tmp_path: Path) -> None:
    one, other = rows(Shape(seeds=(0,))), rows(Shape(seeds=(0, 1)))
    write(tmp_path / "w1", other, curves=False)
    folder = write(tmp_path / "w[1]", one, curves=False)
    assert len(read_grid(folder).cells) == len(one) < len(other)


def test_a_grid_that_was_stopped_before_its_first_cell_says_so(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("\n")
    with pytest.raises(RunError, match="holds no finished cell yet"):
        read_grid(tmp_path)
