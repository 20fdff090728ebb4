"""What an earlier report wrote and this one does not is gone; whatever else lies there stays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from experiments.report import writing
from experiments.report.former import KEPT, replace_former
from experiments.report.writing import write_grid_report
from tests.experiments.report.samples import Shape, rows, write

BOTH = Shape(rules=("mean", "sieve"), seeds=(0,), models=("sasrec", "gru4rec"))
ONE = Shape(rules=("mean", "sieve"), seeds=(0,))


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are their titles."""

    def save(figures: Iterable[tuple[Any, Path, str]]) -> list[Path]:
        paths = []
        for _, stem, title in figures:
            stem.parent.mkdir(parents=True, exist_ok=True)
            paths.append(stem.with_name(f"{stem.name}.svg"))
            paths[-1].write_text(title)
        return paths

    monkeypatch.setattr(writing, "save", save)


def files(folder: Path) -> set[Path]:
    return {path for place in ("plots", "tables") for path in (folder / place).rglob("*") if path.is_file()}


def test_what_a_report_no_longer_writes_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    folder = write(tmp_path / "grid", rows(BOTH))
    first = write_grid_report(folder)
    gone = {folder / place / "synthetic-gru4rec" for place in ("plots", "tables")}
    assert all(path.is_dir() for path in gone)
    edited = folder / "tables" / "synthetic-gru4rec" / "main.md"
    edited.write_text("| mine |")
    notes = folder / "plots" / "notes.md"
    notes.write_text("mine")
    write(folder, rows(ONE))
    second = write_grid_report(folder)
    assert files(folder) == {*second.images, *second.tables, edited, notes}
    assert {path.parent for path in {*first.images, *first.tables} - files(folder)} == gone
    assert not (folder / "plots" / "synthetic-gru4rec").exists()
    write(folder, rows(BOTH))
    third = write_grid_report(folder)
    assert files(folder) == {*third.images, *third.tables, notes}


def test_without_images_the_plots_of_other_results_go(tmp_path: Path) -> None:
    folder = write(tmp_path / "grid", rows(ONE))
    plots = {*write_grid_report(folder).images}
    write_grid_report(folder, images=False)
    assert files(folder) > plots  # they are of the same results
    write(folder, rows(Shape(rules=("mean", "krum"), seeds=(0,))))
    assert files(folder) > plots
    tables = write_grid_report(folder, images=False).tables
    assert files(folder) == {*tables}


def test_plots_of_other_results_go_before_new_ones_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "grid", rows(ONE))
    write_grid_report(folder)
    write(folder, rows(Shape(rules=("mean", "krum"), seeds=(0,))))

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_grid_report(folder)
    again = write_grid_report(folder, images=False)
    assert files(folder) == {*again.tables}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[[1, 2]]",
        "null",
        '{"../own.md": "DIGEST"}',
        '{"tables/../own.md": "DIGEST"}',
        '{"own.md": "DIGEST"}',
    ],
)
def test_a_damaged_note_removes_nothing(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "grid"
    (folder / "tables").mkdir(parents=True)
    own = [tmp_path / "own.md", folder / "own.md"]
    for path in own:
        path.write_text("")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (folder / KEPT).write_text(text.replace("DIGEST", empty))
    replace_former(folder, [])
    assert all(path.exists() for path in own)
    assert json.loads((folder / KEPT).read_text()) == {}
