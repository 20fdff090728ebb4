"""Lines over rounds, with their bands."""

from __future__ import annotations

import plotly.graph_objects as go

from experiments.report.drawing.colours import COLOURS, GREY, rgb
from experiments.report.drawing.frame import POSSIBLE, frame, literal, short
from experiments.report.plots import Line, Lines


def lines(plot: Lines) -> go.Figure:
    """Means over the rounds with their bands; the first is drawn last, above the others."""
    figure = frame(plot.x, plot.y, 440).update_yaxes(**POSSIBLE)
    for line in plot.lines:
        figure.add_traces(_line(line))
    return figure.update_layout(legend_traceorder="reversed")


def _line(line: Line) -> list[go.Scatter]:
    """The band (one trace there and back), then the mean."""
    grey = line.colour is None
    colour = GREY if line.colour is None else COLOURS[line.colour]
    mean = go.Scatter(
        mode="lines" if len(line.x) > 1 else "markers",  # a line needs two points to be seen
        name=literal(line.name),
        legendgroup=line.name,
        showlegend=not grey,
        opacity=0.45 if grey else 1,
        x=list(line.x),
        y=[short(p.mean) for p in line.points],
        line={"color": colour, "width": 1 if grey else 2.2},
        hovertemplate=f"{literal(line.name)}: %{{y:.4f}}<extra></extra>",
    )
    if grey:
        return [mean]
    if all(p.half is None for p in line.points):
        return [*_each_seed(line, colour), mean]
    there = [short(min(1.0, p.high)) for p in line.points]  # no metric leaves 0 … 1, an interval may
    back = [short(max(0.0, p.low)) for p in reversed(line.points)]
    band = go.Scatter(
        mode="lines",
        legendgroup=line.name,
        showlegend=False,
        hoverinfo="skip",
        x=[*line.x, *reversed(line.x)],
        y=[*there, *back],
        fill="toself",
        fillcolor=f"rgba{(*rgb(colour), 0.18)}",
        line={"width": 0},
    )
    return [band, mean]


def _each_seed(line: Line, colour: str) -> list[go.Scatter]:
    """A thin line a seed: of so few there is no interval."""
    seeds = list(line.points[0].seeds) if line.points and line.points[0].n > 1 else []
    return [
        go.Scatter(
            mode="lines",
            legendgroup=line.name,
            showlegend=False,
            hoverinfo="skip",
            x=list(line.x),
            y=[short(p.seeds[seed]) for p in line.points],
            line={"color": colour, "width": 1, "dash": "dot"},
            opacity=0.6,
        )
        for seed in seeds
    ]
