"""Tables as Markdown."""

from __future__ import annotations

from experiments.report.tables import Table, cell_texts, is_text


def markdown(table: Table) -> str:
    """GitHub's pipe table under its title, with the note below."""
    head = "| " + " | ".join(_pipes(c.title) for c in table.columns) + " |"
    rule = "|" + "".join(":--|" if is_text(table, j) else "--:|" for j in range(len(table.columns)))
    rows = ["| " + " | ".join(cells) + " |" for cells in cell_texts(table, " ± ", _pipes, "**{}**".format)]
    note = f"\n{table.note}\n" if table.note else ""
    return "\n".join([f"### {table.full}", "", head, rule, *rows]) + "\n" + note


def _pipes(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", r"\|").replace("\n", " ").replace("_", r"\_")
