"""Pages that need no network, from the templates in ``assets/``: text of strangers is escaped there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from experiments.report.tables import Column, Table, Value, number, shown

Charts = dict[str, Mapping[str, Mapping[str, Any]]]
"""Id of a figure on the page -> variant -> data and layout."""
SEARCH_FROM = 8
"""Rows from which a table gets a search field."""
LONG = 60
"""Characters from which a text may wrap."""


def render(template: str, charts: Charts, **values: Any) -> str:
    """A whole page; ``charts`` are drawn in the figures of the same id."""
    return _ENVIRONMENT.get_template(template).render(charts=charts, **values)


def figure(
    name: str, title: str, note: str, drawn: Mapping[str, go.Figure], choice: str, charts: Charts
) -> dict[str, Any]:
    """What the template needs of a figure, whose ``drawn`` variants go to ``charts``; without any it is its
    title and its note."""
    if drawn:
        charts[name] = {variant: one.to_plotly_json() for variant, one in drawn.items()}
    height = next((one.layout.height for one in drawn.values()), 0)
    return {
        "name": name,
        "title": title,
        "note": note,
        "variants": list(drawn),
        "choice": choice,
        "height": height,
    }


def data_table(table: Table) -> dict[str, Any]:
    """What the template needs of a table to sort by its heads and, where it is long, to filter."""
    texts = [all(isinstance(row[j], str) for row in table.rows) for j in range(len(table.columns))]
    best = table.best()
    return {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "heads": [(column.title, is_text) for column, is_text in zip(table.columns, texts, strict=True)],
        "searched": len(table.rows) >= SEARCH_FROM,
        "choices": list(_choices(table)),
        "rows": [_cells(row, table, texts, best) for row in table.rows],
        "floors": [_cells(row, table, texts, [None] * len(best)) for row in table.floors],
    }


def _choices(table: Table) -> list[tuple[str, int, list[str]]]:
    found = []
    for j, column in enumerate(table.columns):
        values = {shown(row[j], column) for row in table.rows} if column.choose else set()
        if len(values) > 1:
            found.append((column.title, j, sorted(values)))
    return found


def _cells(
    row: Sequence[Value], table: Table, texts: Sequence[bool], best: Sequence[float | None]
) -> list[dict[str, Any]]:
    return [_cell(*one) for one in zip(row, table.columns, texts, best, strict=True)]


def _cell(value: Value, column: Column, is_text: bool, top: float | None) -> dict[str, Any]:
    own, words = number(value), shown(value, column)
    key = value if is_text else "" if own is None else f"{own:.10g}"
    mean, _, half = words.partition(" ± ")
    name = "text long" if is_text and len(words) > LONG else "text" if is_text else ""
    return {"name": name, "key": key, "mean": mean, "half": half, "best": top is not None and own == top}


def _asset(name: str) -> Markup:
    """A file of ours that goes into a page as it is."""
    text = files("experiments.report").joinpath("assets", name).read_text(encoding="utf-8")
    return Markup(text)  # nosec B704


def _json(value: Any) -> Markup:
    """Data in a script element, where nothing can end it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return Markup(text)  # nosec B704


def _plotly() -> Markup:
    text = get_plotlyjs()
    return Markup(text)  # nosec B704


_ENVIRONMENT = Environment(
    loader=PackageLoader("experiments.report", "assets"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["json"] = _json
_ENVIRONMENT.globals |= {"asset": _asset, "plotly": _plotly}
