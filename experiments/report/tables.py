"""A table as data; as text for the terminal, and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from common.printable import LONGEST, printable
from experiments.report.statistics import Estimate, outstanding
from experiments.units import bytes_text, seconds_text

Value = str | float | Estimate | None
UNITS: Mapping[str, Callable[[float], str]] = {"bytes": bytes_text, "seconds": seconds_text}
"""Forms that bring their unit."""
Bold = Callable[[str], str]


@dataclass(frozen=True)
class Column:
    """``form`` shows a number; ``best`` says which one is set in bold; ``choose`` offers a filter.

    ``extra`` columns are left out where the terminal is narrow.
    """

    title: str
    form: str = ".4f"
    best: Literal["", "high", "low"] = ""
    choose: bool = False
    extra: bool = False

    def show(self, value: float) -> str:
        if self.form == "p":
            return "<0.001" if value < 0.001 else f"{value:.3f}"
        if self.form in UNITS:
            return UNITS[self.form](value)
        if self.form == "percent":
            return f"{100 * value:g} %"
        text = format(value, self.form)
        return text if set(text) & set("123456789") else text.lstrip("-+")  # no minus before a rounded 0


@dataclass(frozen=True)
class Table:
    """``rows`` hold a value a column; ``floors`` stand below the line and never count as best."""

    name: str
    title: str
    place: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    floors: Sequence[Sequence[Value]] = ()

    @property
    def full(self) -> str:
        """The title where no page says which data and model it is about."""
        return f"{self.title}: {self.place}" if self.place else self.title

    def best(self) -> list[float | None]:
        """By column, the number to set in bold: None unless a test says that it is better than each other.

        None either where means are over different conditions, as in a grid that has not ended.
        """
        return [self._best(j, column.best) for j, column in enumerate(self.columns)]

    def _best(self, j: int, kind: Literal["", "high", "low"]) -> float | None:
        found = [value for row in self.rows if isinstance(value := row[j], Estimate)]
        same = len({value.over for value in found}) == 1
        top = outstanding(found, kind) if kind and same else None
        return None if top is None else found[top].mean


def number(value: Value) -> float | None:
    """What a cell is sorted and compared by; None for text and for what was not measured."""
    if isinstance(value, Estimate):
        return value.mean
    return None if value is None or isinstance(value, str) else value


def shown(value: Value, column: Column, between: str = " ± ") -> str:
    """``mean ± half``, or the mean alone of few seeds; – where nothing was measured."""
    if value is None:
        return "–"
    if isinstance(value, Estimate):
        own = column.show(value.mean)
        half = "" if value.half is None else column.show(value.half).lstrip("+")
        return f"{own}{between}{half}" if half else own
    return value if isinstance(value, str) else column.show(value)


def terminal(table: Table, width: int) -> RichTable:
    """For rich; without the half widths where ``width`` characters do not hold them."""
    if width < 15 * len(table.columns):
        table = _narrow(table)
    drawn = RichTable(title=_rich(table.full), box=SIMPLE_HEAD, show_edge=False)
    drawn.caption = _rich(table.note) or None
    drawn.padding = (0, 1, 0, 0)
    rows = cell_texts(table, " ± ", _rich, "[bold]{}[/bold]".format)
    for j, column in enumerate(table.columns):
        plain = [shown(row[j], column) for row in (*table.rows, *table.floors)]
        whole = max(map(len, [*column.title.split(), *plain]))  # heads and names may wrap, numbers not
        side: Literal["left", "right"] = "left" if is_text(table, j) else "right"
        drawn.add_column(_rich(column.title), justify=side, width=whole if j else None, overflow="fold")
    for i, cells in enumerate(rows):
        if i == len(table.rows):
            drawn.add_section()
        drawn.add_row(*cells)
    return drawn


def _narrow(table: Table) -> Table:
    """Means alone, without the columns that can be missed."""
    kept = [j for j, column in enumerate(table.columns) if not column.extra]
    rows, floors = (
        [[v.mean if isinstance(v := row[j], Estimate) else v for j in kept] for row in found]
        for found in (table.rows, table.floors)
    )
    columns = [table.columns[j] for j in kept]
    note = re.sub(r"^± [^.]*\. ", "", table.note)
    return replace(table, columns=columns, rows=rows, floors=floors, note=note)


def cell_texts(table: Table, between: str, escape: Callable[[str], str], bold: Bold) -> list[list[str]]:
    """Every cell as text, floors last: escaped, the sign between mean and half width as ``between``."""
    best = table.best()
    found: list[list[str]] = []
    for row in (*table.rows, *table.floors):
        cells = []
        for value, column, top in zip(row, table.columns, best, strict=True):
            text = "".join([between if p is None else escape(p) for p in _parts(shown(value, column))])
            mine = top is not None and number(value) == top and len(found) < len(table.rows)
            cells.append(bold(text) if mine else text)
        found.append(cells)
    return found


def _parts(text: str) -> list[str | None]:
    """The text, with None for the sign between mean and half width."""
    left, sign, right = text.partition(" ± ")
    return [left, None, right] if sign else [text]


def is_text(table: Table, j: int) -> bool:
    return all(isinstance(row[j], str) for row in (*table.rows, *table.floors))


def _rich(text: str) -> str:
    return escape(printable(text, LONGEST))


def markdown(table: Table) -> str:
    """GitHub's pipe table under its title, with the note below."""
    head = "| " + " | ".join(_pipes(c.title) for c in table.columns) + " |"
    rule = "|" + "".join(":--|" if is_text(table, j) else "--:|" for j in range(len(table.columns)))
    rows = ["| " + " | ".join(cells) + " |" for cells in cell_texts(table, " ± ", _pipes, "**{}**".format)]
    note = f"\n{table.note}\n" if table.note else ""
    return "\n".join([f"### {table.full}", "", head, rule, *rows]) + "\n" + note


def _pipes(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", r"\|").replace("\n", " ").replace("_", r"\_")
