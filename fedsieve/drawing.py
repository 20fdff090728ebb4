"""Plotly figures of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from common.errors import RunError
from experiments.report.accuracy import exposure, retained
from experiments.report.drawing.colours import SCALE
from experiments.report.drawing.frame import brief
from experiments.report.plots import Heatmap
from experiments.report.reading import read_grid
from experiments.report.section import sections

LINE, FRAME = 26, 150
"""Pixels of a strategy, and of what stands around a map."""


def maps(folder: Path) -> go.Figure:
    """A row for each data set, model and malicious share. Raises RunError for a grid without runs."""
    rows: list[list[Heatmap | None]] = []
    titles: list[str] = []
    for section in sections(read_grid(folder))[0]:
        quality, exposed = retained(section), exposure(section)
        for share, first in (quality.variants if quality else {}).items():
            second = exposed.variants.get(share) if exposed else None
            pair = [first if isinstance(first, Heatmap) else None, second]
            rows.append([one if isinstance(one, Heatmap) else None for one in pair])
            where = section.title + (f", {share} malicious" if share else "")
            titles += [f"{one.title}<br>{where}" if one else "" for one in rows[-1]]
    if not rows:
        raise RunError(f"no run of the grid in {folder} has finished: nothing to draw")
    tall = [max(len(one.rows) for one in row if one) for row in rows]
    figure = make_subplots(len(rows), 2, subplot_titles=titles, row_heights=tall, horizontal_spacing=0.16)
    for place, row in enumerate(rows, start=1):
        for column, one in enumerate(row, start=1):
            if one is not None:
                figure.add_trace(_map(one), place, column)
    figure.update_yaxes(autorange="reversed", automargin=True).update_xaxes(automargin=True)
    height = sum(FRAME + LINE * count for count in tall)
    return figure.update_layout(template="plotly_white", height=height)


def _map(one: Heatmap) -> go.Heatmap:
    values = [[None if cell is None else cell.mean for cell in row] for row in one.cells]
    low, high = sorted((one.worst, one.best))
    colours: Sequence[str] = SCALE if one.worst < one.best else SCALE[::-1]
    return go.Heatmap(
        z=values,
        x=list(one.columns),
        y=list(one.rows),
        text=[["" if v is None else brief(v) for v in row] for row in values],
        texttemplate="%{text}",
        colorscale=[[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)],
        zmin=low,
        zmax=high,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{z:.4f}<extra></extra>",
    )
