"""README, first page and picture show one demo."""

from __future__ import annotations

import pytest

from benchmarks.demo_page import PAGES, PICTURE, ROOT, TABLE, picture, table, with_table

FOUND = {
    "Popularity": {"hr@10": 0.08, "ndcg@10": 0.04},
    "clean, plain mean": {"hr@10": 0.16, "ndcg@10": 0.08, "er@10": 0.0},
    "attacked, plain mean": {"hr@10": 0.1, "ndcg@10": 0.04, "er@10": 0.995},
}


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_pages_show_the_same_demo_and_the_picture_its_figures() -> None:
    tables = {TABLE.findall(read(page))[0] for page in PAGES}
    assert len(tables) == 1, "run python -m benchmarks.demo_page runs/demo"
    drawn, found = read(PICTURE), {}
    for row in tables.pop().splitlines()[2:]:
        name, hits, gain, exposed = (cell.strip() for cell in row.strip("|").split("|"))
        found[name] = {"hr@10": float(hits), "ndcg@10": float(gain)}
        if exposed != "–":
            found[name]["er@10"] = float(exposed.rstrip("%")) / 100
    assert picture(found) == drawn, "run python -m benchmarks.demo_page runs/demo"


def test_a_table_is_replaced_whole_and_what_is_around_it_stays() -> None:
    page = f"before\n\n{table(FOUND)}\nafter\n"
    other = FOUND | {"clean, plain mean": {"hr@10": 0.2, "ndcg@10": 0.1, "er@10": 0.01}}
    assert with_table(page, other) == f"before\n\n{table(other)}\nafter\n"
    assert "| clean, plain mean | 0.2000 | 0.1000 | 1.0% |" in table(other)


def test_a_page_without_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="one table"):
        with_table("nothing", FOUND)


def test_bars_are_as_long_as_what_they_show() -> None:
    drawn = picture(FOUND)
    assert 'class="n" x="200" y="48" width="200"' in drawn
    assert 'class="n" x="200" y="93" width="100"' in drawn
    assert 'class="e" x="490" y="93" width="199"' in drawn
