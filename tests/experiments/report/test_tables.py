"""Markdown and the terminal: formats, escapes, what is set in bold."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from experiments.report.statistics import Estimate
from experiments.report.tables import Column, Table, markdown, shown, terminal

BEST = Estimate(0.2, None, 3, {0: 0.2, 1: 0.211, 2: 0.189})
COLUMNS = [
    Column("Strategy"),
    Column("NDCG@10", best="high"),
    Column("ER@10", ".3f", "low"),
    Column("p", "p"),
]


def table(**more: object) -> Table:
    rows = [
        ["norm_clip", Estimate(0.1, 0.01, 3, {0: 0.1, 1: 0.11, 2: 0.09}), 0.25, "baseline"],
        ["a|b & 20 % [x]", BEST, None, 0.0004],
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
        "| krum | – | 0.125 ± 0.500 | 0.040 |\n"
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
        (Estimate(-0.5, 0.25, 3), "+.2f", "-0.50 ± 0.25"),
        (None, ".2f", "–"),
        ("text", ".2f", "text"),
    ],
)
def test_values_are_shown(value: object, form: str, text: str) -> None:
    assert shown(value, Column("x", form)) == text  # type: ignore[arg-type]


def test_the_best_is_marked_only_where_a_test_supports_it() -> None:
    columns = [Column("x", best="high"), Column("y", best="low"), Column("z"), Column("w", best="high")]
    apart = {seed: 0.5 + 0.01 * seed for seed in range(3)}
    far, alone = Estimate(0.51, None, 3, apart), Estimate(0.9, None, 1, {0: 0.9})
    rows = [[BEST, BEST, BEST, 0.1], [BEST, far, far, alone]]
    assert Table("t", "T", "", columns, rows).best() == [None, 0.2, None, None]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0, "bytes", "0 B"),
        (999, "bytes", "999 B"),
        (1234, "bytes", "1.2 kB"),
        (3_100_000_000, "bytes", "3.1 GB"),
        (16e9, "bytes", "16 GB"),
        (0.417, "seconds", "0.42 s"),
        (40, "seconds", "40 s"),
        (725, "seconds", "12 min"),
        (11100, "seconds", "3 h 05 min"),
    ],
)
def test_bytes_and_seconds_are_for_people(value: float, form: str, text: str) -> None:
    assert Column("x", form).show(value) == text


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


def test_means_over_different_attacks_are_not_compared() -> None:
    """As in a grid that has not ended: who misses the hard attack would look the best."""
    easy, both = frozenset({"easy"}), frozenset({"easy", "hard"})
    high = Estimate(0.9, 0.01, 3, {0: 0.9, 1: 0.912, 2: 0.888}, easy)
    rows = [[BEST], [replace(high, over=both)], [high]]
    columns = [Column("x", best="high")]
    assert Table("t", "T", "", columns, rows).best() == [None]
    same = [[replace(row[0], over=both)] for row in rows]
    assert Table("t", "T", "", columns, [same[0], same[1]]).best() == [0.9]
