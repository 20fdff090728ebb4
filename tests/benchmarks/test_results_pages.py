"""The tables of docs/results are those of the grids that are kept beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results_pages import DATA, MARK, filled, pages, written

WITH_TABLES = [page for page in pages() if MARK.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_TABLES, ids=[f"{page.parent.name}/{page.name}" for page in WITH_TABLES])
def test_the_tables_of_a_page_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text, "run python -m benchmarks.results_pages"


def test_every_kept_grid_is_on_a_page() -> None:
    named = {
        found["grid"] for page in WITH_TABLES for found in MARK.finditer(page.read_text(encoding="utf-8"))
    }
    assert named == {folder.name for folder in DATA.iterdir()} | {
        "cap",
        "targets",
    }  # which sum up several grids


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="no column 'ER@11'"):
        written("dense", "beside", ["ER@11"])


def test_rows_are_chosen_by_what_a_column_reads() -> None:
    text = written("dense", "beside", ["Strategy", "Attack"], "Strategy=sieve")
    assert "| sieve | control |" in text
    assert "| mean |" not in text


def test_a_note_explains_no_column_that_is_left_out() -> None:
    assert "over users" not in written("precision", "runs", ["seeds", "NDCG@10"])
    assert "over users" in written("precision", "runs", ["seeds", "NDCG@10 ± over users"])
