"""Heatmaps for the page: tables that a phone can read."""

from __future__ import annotations

from html import escape

from experiments.report.look import brief, ink, scaled
from experiments.report.plots import Heatmap
from experiments.report.statistics import Estimate


def heat(plot: Heatmap) -> str:
    """A table: the first column stays while the rest scrolls, and each cell says its number."""
    heads = "".join(f"<th scope='col'><span>{escape(c)}</span></th>" for c in plot.columns)
    rows = []
    for name, cells in zip(plot.rows, plot.cells, strict=True):
        mark = " class='ours'" if name in plot.strong else ""
        rows.append(
            f"<tr{mark}><th scope='row'>{escape(name)}</th>{''.join(_cell(c, plot) for c in cells)}</tr>"
        )
    return (
        f"<div class='wide heat'><table aria-label='{escape(plot.title)}'><thead><tr><th></th>{heads}</tr>"
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(found: Estimate | None, plot: Heatmap) -> str:
    if found is None:
        return "<td class='none'>–</td>"
    colour = scaled(found.mean, plot.worst, plot.best)
    title = f"{found.mean:.4f}" + (f" ± {found.half:.4f}" if found.half is not None else "")
    style = f"background:{colour};color:{ink(colour)}"
    return f"<td style='{style}' title='{title}, {found.n} seeds'>{brief(found.mean)}</td>"
