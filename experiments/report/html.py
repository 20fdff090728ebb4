"""Pieces of a page: plain tables, tables to sort and filter, figures, the frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from plotly.offline import get_plotlyjs

from experiments.report.heat import heat
from experiments.report.interactive import Spec, specs
from experiments.report.look import text
from experiments.report.plots import Figure, Heatmap
from experiments.report.tables import Column, Table, Value, number, shown

SEARCH_FROM = 8
"""Rows from which a table gets a search field."""
LONG = 60
"""Characters from which a text may wrap."""


def frame(title: str, body: str, style: Iterable[str] = (), head: str = "") -> str:
    """A whole page that needs no network; ``style``: sheets of this folder beside the common one."""
    sheets = "\n".join(text(name) for name in ("style.css", *style))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{sheets}</style>{head}</head>
<body>
{body}
</body></html>
"""


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; every cell is escaped."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def data_table(table: Table) -> str:
    """A table to sort by its heads and, where it is long, to filter."""
    texts = [all(isinstance(row[j], str) for row in table.rows) for j in range(len(table.columns))]
    heads = "".join(
        f"<th scope='col'{_text(is_text)}><button type='button'>{escape(c.title)}</button></th>"
        for c, is_text in zip(table.columns, texts, strict=True)
    )
    best = table.best()
    rows = "".join(_row(row, table, texts, best) for row in table.rows)
    floors = "".join(_row(row, table, texts, [None] * len(best), " class='floor'") for row in table.floors)
    note = f"<p class='note'>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<div class='table' data-table='{escape(table.name)}'><h3>{escape(table.title)}</h3>{note}"
        f"{_filters(table)}<div class='data'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}{floors}</tbody></table></div></div>"
    )


def _filters(table: Table) -> str:
    if len(table.rows) < SEARCH_FROM:
        return ""
    found = ["<label class='choose'>Search <input type='search'></label>"]
    for j, column in enumerate(table.columns):
        values = list(dict.fromkeys(shown(row[j], column) for row in table.rows)) if column.choose else []
        if len(values) > 1:
            options = "".join(f"<option>{escape(v)}</option>" for v in sorted(values))
            found.append(
                f"<label class='choose'>{escape(column.title)} <select data-column='{j}'>"
                f"<option value=''>all</option>{options}</select></label>"
            )
    return "".join(found) + "<span class='choose count' role='status'></span>"


def _row(
    row: Sequence[Value],
    table: Table,
    texts: Sequence[bool],
    best: Sequence[float | None],
    mark: str = "",
) -> str:
    cells = zip(row, table.columns, texts, best, strict=True)
    return f"<tr{mark}>" + "".join(_cell(v, c, is_text, top) for v, c, is_text, top in cells) + "</tr>"


def _cell(value: Value, column: Column, is_text: bool, top: float | None) -> str:
    own = number(value)
    key = escape(value) if is_text and isinstance(value, str) else "" if own is None else f"{own:.10g}"
    words = shown(value, column)
    name = "text long" if is_text and len(words) > LONG else "text" if is_text else ""
    mean, sign, half = escape(words).partition(" ± ")
    inner = f"{mean}<span class='half'> ± {half}</span>" if sign else mean
    inner = f"<b>{inner}</b>" if top is not None and own == top else inner
    return f"<td{_text(is_text, name)} data-v='{key}'>{inner}</td>"


def _text(is_text: bool, name: str = "text") -> str:
    return f" class='{name}'" if is_text else ""


def figure(one: Figure, name: str) -> tuple[str, dict[str, list[Spec]]]:
    """The place of a figure with the id ``name``, and the charts that plotly draws there by variant.

    A figure without variants is its title and its note.
    """
    head = f"id='{escape(name)}'><h3>{escape(one.title)}</h3><p class='note'>{escape(one.note)}</p>"
    if not one.variants:
        return f"<div class='nothing' {head}</div>", {}
    choice = ""
    if len(one.variants) > 1:
        options = "".join(f"<option>{escape(v)}</option>" for v in one.variants)
        choice = f"<label class='choose'>{escape(one.choice)} <select>{options}</select></label>"
    maps = {v: plot for v, plot in one.variants.items() if isinstance(plot, Heatmap)}
    drawn = {v: found for v, plot in one.variants.items() if (found := specs(plot))}
    inner = "".join(f"<div data-variant='{escape(v)}' hidden>{heat(plot)}</div>" for v, plot in maps.items())
    if drawn:
        height = next(iter(drawn.values()))[0]["layout"]["height"]
        place = f"<div class='chart' style='min-height:{height}px'></div>"
        inner += f"<div class='panels'>{place * max(map(len, drawn.values()))}</div>"
    return f"<div class='figure' {head}{choice}{inner}</div>", drawn


def scripts(drawn: Mapping[str, Mapping[str, Sequence[Spec]]]) -> str:
    """plotly.js once, the figures as data (where nothing can end the script element), and our own code."""
    data = json.dumps(drawn, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return (
        f"<script>{get_plotlyjs()}</script>\n<script type='application/json' id='specs'>{data}</script>\n"
        f"<script>{text('charts.js')}{text('grid.js')}</script>"
    )
