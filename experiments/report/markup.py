"""Tables as Markdown and as LaTeX (booktabs)."""

from __future__ import annotations

import re

from experiments.report.naming import slug
from experiments.report.tables import Table, cell_texts, is_text


def markdown(table: Table) -> str:
    """GitHub's pipe table under its title, with the note below."""
    head = "| " + " | ".join(_pipes(c.title) for c in table.columns) + " |"
    rule = "|" + "".join(":--|" if is_text(table, j) else "--:|" for j in range(len(table.columns)))
    rows = ["| " + " | ".join(cells) + " |" for cells in cell_texts(table, " ± ", _pipes, "**{}**".format)]
    note = f"\n{table.note}\n" if table.note else ""
    return "\n".join([f"### {table.full}", "", head, rule, *rows]) + "\n" + note


def latex(table: Table) -> str:
    """A ``table`` environment with booktabs rules; one wider than eight columns is scaled (graphicx)."""
    width = len(table.columns)
    spec = "".join("l" if is_text(table, j) else "r" for j in range(width))
    texts = cell_texts(table, r" $\pm$ ", _latex_cell, r"\textbf{{{}}}".format)
    rows = [" & ".join(row) + r" \\" for row in texts]
    if table.floors:
        rows.insert(len(table.rows), r"\midrule")
    body = [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        " & ".join(escape_latex(c.title) for c in table.columns) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if width > 8:
        body = [r"\resizebox{\linewidth}{!}{%", *body, "}"]
    caption = escape_latex(f"{table.full}. {table.note}".strip().rstrip(".") + ".")
    uses = "% needs \\usepackage{booktabs}" + (" and \\usepackage{graphicx}" if width > 8 else "")
    label = rf"\label{{tab:{slug(table.place)}-{table.name}}}"
    top = [uses, r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", label]
    return "\n".join([*top, *body, r"\end{table}"]) + "\n"


def _pipes(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", r"\|").replace("\n", " ").replace("_", r"\_")


SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "<": "$<$",
    ">": "$>$",
    "Δ": r"$\Delta$",
    "\n": " ",
}


def _latex_cell(text: str) -> str:
    return re.sub(r"^-(?=\d)", "$-$", escape_latex(text))


def escape_latex(text: str) -> str:
    """Every character that LaTeX would read as a command, and the signs that a plain font lacks."""
    return "".join(SPECIAL.get(c, c) for c in text)
