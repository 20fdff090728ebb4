"""A map of cells with their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from experiments.report.drawing.colours import GREY, SCALE, ink, scaled
from experiments.report.drawing.frame import LETTER, brief, frame, literal, short
from experiments.report.plots import Heatmap
from experiments.report.statistics import Estimate


def heatmap(plot: Heatmap) -> go.Figure:
    """Cells of one size with their numbers, names in full: as wide as it must be."""
    left, top = (LETTER * max(map(len, names), default=0) + 16 for names in (plot.rows, plot.columns))
    figure = frame("", "", top + 24 * len(plot.rows) + 8)
    low, high = sorted((plot.worst, plot.best))
    colours = SCALE if plot.worst < plot.best else SCALE[::-1]
    figure.add_heatmap(
        z=[[None if cell is None else short(cell.mean) for cell in row] for row in plot.cells],
        customdata=[
            [literal(f"{name}, {column}: {_exact(c)}") for column, c in zip(plot.columns, row, strict=True)]
            for name, row in zip(plot.rows, plot.cells, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        colorscale=[[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)],
        zmin=low,
        zmax=high,
        xgap=1,
        ygap=1,
        showscale=False,
    )
    cells = [(x, y, cell) for y, row in enumerate(plot.cells) for x, cell in enumerate(row)]
    inks = [GREY if c is None else ink(scaled(c.mean, plot.worst, plot.best)) for _, _, c in cells]
    figure.add_scatter(  # Plotly's own text in a map has one grey for all mid colours
        mode="text",
        x=[x for x, _, _ in cells],
        y=[y for _, y, _ in cells],
        text=["–" if cell is None else brief(cell.mean) for _, _, cell in cells],
        textfont={"size": 11, "color": inks},
        hoverinfo="skip",
        showlegend=False,
    )
    rows = [f"<b>{literal(name)}</b>" if name in plot.strong else literal(name) for name in plot.rows]
    bare = {
        "ticks": "",
        "ticklabelstandoff": 4,
        "showgrid": False,
        "zeroline": False,
        "automargin": False,
        "tickmode": "array",
    }
    columns = [literal(name) for name in plot.columns]
    ends = [-0.5, len(columns) - 0.5]
    figure.update_xaxes(**bare, side="top", tickangle=-90, range=ends, **_ticks(columns))
    figure.update_yaxes(**bare, range=[len(rows) - 0.5, -0.5], **_ticks(rows))
    width = left + 38 * len(plot.columns) + 12
    return figure.update_layout(width=width, margin={"l": left, "r": 12, "t": top, "b": 8})


def _ticks(names: Sequence[str]) -> dict[str, Any]:
    return {"tickvals": list(range(len(names))), "ticktext": list(names)}


def _exact(cell: Estimate | None) -> str:
    if cell is None:
        return "not run"
    if cell.half is not None:
        return f"{cell.mean:.4f} ± {cell.half:.4f}, {cell.n} seeds"
    each = ", ".join(f"{value:.4f}" for value in cell.seeds.values())
    return f"{cell.mean:.4f}" + (f" ({each})" if len(cell.seeds) > 1 else "")
