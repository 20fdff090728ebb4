"""Markdown, LaTeX and the terminal: formats, escapes, what is set in bold."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from experiments.report.markup import escape_latex, latex, markdown
from experiments.report.statistics import Estimate
from experiments.report.tables import Column, Table, shown, terminal

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


def test_latex_in_full() -> None:
    assert latex(table(floors=[["markov_1", 0.3, None, None]])) == "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\caption{Strategies: ml-100k, sasrec. $\pm$ is the interval (t) of 5 \% levels. More.}",
            r"\label{tab:ml-100k-sasrec-main}",
            r"\begin{tabular}{lrrr}",
            r"\toprule",
            r"Strategy & NDCG@10 & ER@10 & p \\",
            r"\midrule",
            r"norm\_clip & 0.1000 $\pm$ 0.0100 & 0.250 & baseline \\",
            r"a|b \& 20 \% [x] & \textbf{0.2000} & -- & $<$0.001 \\",
            r"krum & -- & \textbf{0.125 $\pm$ 0.500} & 0.040 \\",
            r"\midrule",
            r"markov\_1 & 0.3000 & -- & -- \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def test_wide_latex_is_scaled() -> None:
    columns = [Column(f"c{i}") for i in range(9)]
    text = latex(Table("wide", "Wide", "", columns, [[0.5] * 9]))
    assert "graphicx" in text.splitlines()[0]
    assert text.index(r"\resizebox{\linewidth}{!}{%") < text.index(r"\begin{tabular}{rrrrrrrrr}")
    assert text.index(r"\end{tabular}") < text.index("\n}\n")
    assert "graphicx" not in latex(Table("slim", "Slim", "", columns[:8], [[0.5] * 8]))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b", r"a\_b"),
        ("5 %", r"5 \%"),
        ("R&D #1 $x$ {y}", r"R\&D \#1 \$x\$ \{y\}"),
        ("\\", r"\textbackslash{}"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("a\nb", "a b"),
        ("p < 1 ≥ Δ", r"p $<$ 1 $\geq$ $\Delta$"),
    ],
)
def test_latex_escapes(text: str, escaped: str) -> None:
    assert escape_latex(text) == escaped


def test_negative_numbers_get_a_minus_in_latex() -> None:
    text = latex(Table("d", "D", "", [Column("x", "+.2f"), Column("y")], [[-0.5, "-h"], [0.5, "x-1"]]))
    assert r"$-$0.50 & -h \\" in text
    assert r"+0.50 & x-1 \\" in text


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
