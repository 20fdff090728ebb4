"""Tables as LaTeX (booktabs)."""

from __future__ import annotations

import itertools
import re
import textwrap
import unicodedata
from collections.abc import Sequence

from experiments.report.names import slug
from experiments.report.tables import Table, cell_texts, is_text

LINE = 70
"""Characters that a line of an article holds; a wider table is scaled to it (graphicx)."""
LONG = 40
"""Characters from which the texts of a column wrap."""
ROWS = 36
"""Rows that a page holds under head and caption; a longer table goes on in the next ``table``."""


def latex(table: Table) -> str:
    """A ``table`` environment with booktabs rules; a long one is several, a wide one is scaled."""
    rows = cell_texts(table, r" $\pm$ ", _cell, r"\textbf{{{}}}".format)
    plain = cell_texts(table, " ± ", str, str)
    widths = [max(len(c.title), *(len(row[j]) for row in plain), 0) for j, c in enumerate(table.columns)]
    texts = [is_text(table, j) for j in range(len(table.columns))]
    wide = sum(min(w, LONG) + 2 for w in widths) > LINE
    spec = "".join(_spec(*one) for one in zip(texts, widths, strict=True))
    lines = [_start(" & ".join(row)) + r" \\" for row in rows]
    if table.floors:
        lines.insert(len(table.rows), r"\midrule")
    parts = [lines[at : at + ROWS] for at in range(0, len(lines), ROWS)] or [[]]
    uses = "% needs \\usepackage{booktabs}" + (" and \\usepackage{graphicx}" if wide else "")
    bodies = [max((len(row[j]) for row in plain), default=0) for j in range(len(table.columns))]
    heads = [
        _stacked(c.title, body, text) if wide else escape_latex(c.title)
        for c, body, text in zip(table.columns, bodies, texts, strict=True)
    ]
    head = _start(" & ".join(heads)) + r" \\"
    found = [_part(table, spec, head, part, wide, n, len(parts)) for n, part in enumerate(parts)]
    return "\n".join([uses, *itertools.chain(*found)])


def _stacked(title: str, width: int, text: bool) -> str:
    """A head broken at its blanks where the cells below are narrower, since every letter of it costs size."""
    lines = textwrap.wrap(title, max(width, 1), break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2:
        return escape_latex(title)
    inner = r" \\ ".join(map(escape_latex, lines))
    return rf"\shortstack[{'l' if text else 'r'}]{{{inner}}}"


def _part(
    table: Table, spec: str, head: str, lines: Sequence[str], wide: bool, number: int, of: int
) -> list[str]:
    """One ``table`` environment; the first has the label."""
    body = [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        head,
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if wide:
        body = [r"\resizebox{\linewidth}{!}{%", *body, "}"]
    part = f" ({number + 1} of {of})" if of > 1 else ""
    caption = escape_latex(f"{table.full}{part}. {table.note}".strip().rstrip(".") + ".")
    label = [rf"\label{{tab:{slug(table.place)}-{table.name}}}"] if number == 0 else []
    return [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", *label, *body, r"\end{table}", ""]


def _spec(text: bool, width: int) -> str:
    if not text:
        return "r"
    return f"p{{{0.5 * LONG:g}em}}" if width > LONG else "l"


def _cell(text: str) -> str:
    return re.sub(r"^-(?=\d)", "$-$", escape_latex(text))


def _start(row: str) -> str:
    r"""The end of the row before, ``\\``, would take a bracket or a star for its argument."""
    return "{}" + row if row.startswith(("[", "*")) else row


SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "`": r"\`{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "<": "$<$",
    ">": "$>$",
    "∞": r"$\infty$",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    '"': "''",
}
GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "κ": "kappa", "λ": "lambda"}
GREEK |= {"μ": "mu", "µ": "mu", "ρ": "rho", "σ": "sigma", "τ": "tau", "Δ": "Delta", "Σ": "Sigma"}
SPECIAL |= {letter: f"$\\{name}$" for letter, name in GREEK.items()}
LATIN = set(map(chr, range(0xC0, 0x180))) - set("ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ")
"""Letters with accents that LaTeX has in OT1, the font encoding of a paper that names none."""


def escape_latex(text: str) -> str:
    """Every character that LaTeX would read as a command, and the signs that a plain font lacks.

    Two hyphens stay two (``--out`` is no dash), line ends and control characters become blanks, and a letter
    that no plain font has becomes its number.
    """
    parts = re.split("(?<=-)(?=-)", text)
    return "{}".join("".join(map(_escaped, part)) for part in parts)


def _escaped(sign: str) -> str:
    if sign in SPECIAL:
        return SPECIAL[sign]
    if sign.isspace() or unicodedata.category(sign).startswith("C"):
        return " "
    if sign.isascii() or sign in LATIN:
        return sign
    return f"U+{ord(sign):04X}"
