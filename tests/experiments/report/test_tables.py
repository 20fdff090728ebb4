"""Markdown and the terminal: formats, escapes, what is set in bold."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from experiments.report.statistics import Estimate
from experiments.report.tables import Column, Table, markdown, shown, terminal

COLUMNS = [
    Column("Strategy"),
    Column("NDCG@10", best="high"),
    Column("ER@10", ".3f", "low"),
    Column("p", "p"),
]


def table(**more: object) -> Table:
    rows = [
        ["norm_clip", Estimate(0.1, 0.01, 3), 0.25, "baseline"],
        ["a|b & 20 % [x]", Estimate(0.2, None, 1), None, 0.0004],
        ["krum", None, Estimate(0.125, 0.5, 2), 0.04],
    ]
    fields = {"name": "main", "title": "Strategies", "place": "ml-100k, sasrec", "columns": COLUMNS}
    return Table(**(fields | {"rows": rows, "note": "± is the interval (t) of 5 % levels. More."} | more))  # type: ignore[arg-type]


def test_markdown_in_full() -> None:
    assert markdown(table(floors=[["markov_1", 0.3, None, None]])) == (
        "### Strategies: ml-100k, sasrec\n\n"
        "| Strategy | NDCG@10 | ER@10 | p |\n"
        "|:--|--:|--:|--:|\n"
        "| norm\\_clip | 0.1000 ± 0.0100 | 0.250 | baseline |\n"
        "| a\\|b & 20 % [x] | **0.2000** | – | <0.001 |\n"
        "| krum | – | **0.125 ± 0.500** | 0.040 |\n"
        "| markov\\_1 | 0.3000 | – | – |\n"
        "\n± is the interval (t) of 5 % levels. More.\n"
    )


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.05, "percent", "5 %"),
        (0.125, "percent", "12.5 %"),
        (0.0009, "p", "<0.001"),
        (0.001, "p", "0.001"),
        (-0.0001, "+.3f", "0.000"),
        (-0.5, "+.3f", "-0.500"),
        (3, "d", "3"),
        (Estimate(0.5, 0.25, 2), ".2f", "0.50 ± 0.25"),
        (Estimate(0.5, None, 1), ".2f", "0.50"),
        (None, ".2f", "–"),
        ("text", ".2f", "text"),
    ],
)
def test_values_are_shown(value: object, form: str, text: str) -> None:
    assert shown(value, Column("x", form)) == text  # type: ignore[arg-type]


def test_the_best_is_not_marked_where_all_are_the_same() -> None:
    columns = [Column("x", best="high"), Column("y", best="low"), Column("z")]
    rows = [[1.0, 2.0, 3.0], [1.0, 5.0, 4.0]]
    assert Table("t", "T", "", columns, rows).best() == [None, 2.0, None]


def printed(width: int, one: Table) -> str:
    console = Console(width=width, file=StringIO())
    console.print(terminal(one, width))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_terminal_shows_intervals_where_there_is_room() -> None:
    wide, narrow = printed(120, table()), printed(50, table())
    assert "0.1000 ± 0.0100" in wide
    assert "±" not in narrow
    assert "0.1000" in narrow
    assert "More." in narrow
    assert all("…" not in text and "a|b & 20 % [x]" in text for text in (wide, narrow))


def test_extra_columns_are_left_out_of_a_narrow_terminal() -> None:
    one = table(columns=[*COLUMNS[:3], Column("pairs", "p", extra=True)])
    assert "pairs" in printed(120, one)
    assert "pairs" not in printed(50, one)
