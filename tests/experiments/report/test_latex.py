"""LaTeX: escapes, widths, pages, and what pdflatex makes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.report.latex import ROWS, SPECIAL, escape_latex, latex
from experiments.report.statistics import Estimate
from experiments.report.tables import Column, Table
from experiments.report.writing import write_grid_report
from tests.experiments.report.samples import Shape, row, write
from tests.experiments.report.samples import rows as samples_rows
from tests.experiments.report.test_tables import table


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
            r"a\textbar{}b \& 20 \% [x] & \textbf{0.2000} & -- & $<$0.001 \\",
            r"krum & -- & 0.125 $\pm$ 0.500 & 0.040 \\",
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
    values = [[Estimate(0.5, 0.1, 3)] * 5]  # few columns, with intervals
    assert "graphicx" in latex(Table("wide", "Wide", "", columns[:5], values))


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
        ("0.1 ± 0.2 × 3 – −4", r"0.1 $\pm$ 0.2 $\times$ 3 -- $-$4"),
        ("--out ---", "-{}-out -{}-{}-"),
        ('a|b`c"d“e”', r"a\textbar{}b\`{}c''d``e''"),
        ("ρ = λ → ∞…", r"$\rho$ = $\lambda$ $\rightarrow$ $\infty$\ldots{}"),
        ("\x1b[0m\t\r\u00a0é", " [0m   é"),
        ("漢 🙂", "U+6F22 U+1F642"),
    ],
)
def test_latex_escapes(text: str, escaped: str) -> None:
    assert escape_latex(text) == escaped


def test_negative_numbers_get_a_minus_in_latex() -> None:
    text = latex(Table("d", "D", "", [Column("x", "+.2f"), Column("y")], [[-0.5, "-h"], [0.5, "x-1"]]))
    assert r"$-$0.50 & -h \\" in text
    assert r"+0.50 & x-1 \\" in text


def test_heads_of_a_scaled_table_are_broken_where_they_are_wider_than_their_cells() -> None:
    columns = [Column("Strategy"), *(Column(f"NDCG@10 retained {i}", ".3f") for i in range(5))]
    text = latex(Table("main", "Main", "", columns, [["mean", *[0.5] * 5]]))
    assert r"Strategy & \shortstack[r]{NDCG@10 \\ retained \\ 0} & " in text
    assert "shortstack" not in latex(Table("main", "Main", "", columns[:2], [["mean", 0.5]]))


def test_long_texts_wrap() -> None:
    columns = [Column("cell"), Column("error")]
    text = latex(Table("failed", "Failed", "", columns, [["a", "word " * 30], ["b", ""]]))
    assert r"\begin{tabular}{lp{20em}}" in text


def test_a_row_cannot_be_taken_for_an_argument_of_the_one_before() -> None:
    columns = [Column("Strategy"), Column("x")]
    text = latex(Table("t", "T", "", columns, [["mean", 1.0], ["[ours]", 1.0], ["*", 1.0]]))
    assert r"{}[ours] & 1.0000 \\" in text
    assert r"{}* & 1.0000 \\" in text
    assert "{}mean" not in text


def test_a_table_longer_than_a_page_goes_on_in_the_next() -> None:
    columns = [Column("Strategy"), Column("x")]
    rows = [[f"s{i}", float(i)] for i in range(ROWS + 1)]
    text = latex(Table("runs", "All", "toy", columns, rows, "Note."))
    assert text.count(r"\begin{table}") == text.count(r"\toprule") == 2
    assert r"\caption{All: toy (1 of 2). Note.}" in text
    assert r"\caption{All: toy (2 of 2). Note.}" in text
    assert text.count(r"\label{tab:toy-runs}") == 1
    assert text.index("s35 &") < text.index("(2 of 2)") < text.index("s36 &")
    assert text.count("% needs") == 1


SIGNS = [chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x180))]
EVERYTHING = " ".join([*SIGNS, *SPECIAL, "\x1b", "漢", "🙂", "\u202e"])


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no pdflatex; apt-get install texlive-latex-recommended"
)
def test_every_table_of_a_grid_compiles(tmp_path: Path) -> None:
    """Beside them one whose title, heads, cells and note hold every sign that may come."""
    shape = Shape(rules=("mean", "krum", "sieve"), attacks=("control", "psmu", "nan"))
    failed = row("synthetic", "sasrec", "dnc", "nan", 0.2, 0, status="failed", error=f"no {EVERYTHING}")
    written = write_grid_report(write(tmp_path / "grid", [*samples_rows(shape), failed]), images=False)
    columns = [Column(EVERYTHING), Column("[x]"), Column("Δ", "+.3f")]
    cells = [[f"[{EVERYTHING}", EVERYTHING[::-1], -0.5], ["*", "[b]", Estimate(0.5, 0.1, 3)]]
    (tmp_path / "all.tex").write_text(latex(Table("all", EVERYTHING, EVERYTHING, columns, cells, EVERYTHING)))
    files = [tmp_path / "all.tex", *(path for path in written.tables if path.suffix == ".tex")]
    assert len(files) == 10
    inputs = [rf"\input{{{path.relative_to(tmp_path).with_suffix('')}}}\clearpage" for path in files]
    packages = [r"\usepackage{booktabs}", r"\usepackage{graphicx}"]
    lines = [r"\documentclass{article}", *packages, r"\begin{document}", *inputs, r"\end{document}"]
    (tmp_path / "paper.tex").write_text("\n".join(lines))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
    wide = [float(found) for found in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0.0) < 60, log[-2000:]  # long words without a place to break, no table
    assert log.count("Float too large") == 1  # all.tex, whose caption alone is most of a page
