"""Points with intervals, and their front."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from experiments.report.drawing.colours import COLOURS, GREY, rgb
from experiments.report.drawing.frame import POSSIBLE, frame, literal, short, upright
from experiments.report.plots import Point, Scatter

DASHES = ("dot", "dashdot", "dash")


def scatter(plot: Scatter) -> go.Figure:
    """Points with their intervals, the front joined, the marks as lines from the bottom to the top."""
    figure = frame(plot.x, plot.y, 460)
    figure.update_xaxes(**POSSIBLE).update_yaxes(**POSSIBLE)
    front = sorted((p for p in plot.points if p.front), key=lambda p: p.x.mean)
    if len(front) > 1:
        figure.add_scatter(
            mode="lines",
            name="Pareto front",
            x=[short(p.x.mean) for p in front],
            y=[short(p.y.mean) for p in front],
            line={"color": GREY, "width": 1.5},
            hoverinfo="skip",
        )
    for name, strong, colour in (("ours", True, COLOURS[1]), ("others", False, COLOURS[0])):
        if points := [p for p in plot.points if p.strong == strong]:
            figure.add_trace(_points(name, points, colour))
            if len((few := _seeds_of(points, colour)).x):
                figure.add_trace(few)
    for (name, x), dash in zip(plot.marks.items(), DASHES * len(plot.marks), strict=False):
        figure.add_shape(upright(x, dash))
        place = {"x": x, "y": 0, "yref": "paper", "xanchor": "right", "yanchor": "bottom", "textangle": -90}
        figure.add_annotation(place, text=literal(name), showarrow=False)
    return figure


def _seeds_of(points: Sequence[Point], colour: str) -> go.Scatter:
    """A small point a seed, where these are too few for an interval."""
    few = [p for p in points if p.x.half is None and p.y.half is None and p.x.n > 1]
    both = [(p, seed) for p in few for seed in p.x.seeds if seed in p.y.seeds]
    return go.Scatter(
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        x=[short(p.x.seeds[seed]) for p, seed in both],
        y=[short(p.y.seeds[seed]) for p, seed in both],
        marker={"color": colour, "size": 4, "opacity": 0.6},
    )


def _points(name: str, points: Sequence[Point], colour: str) -> go.Scatter:
    found = go.Scatter(
        mode="markers+text",
        name=name,
        x=[short(p.x.mean) for p in points],
        y=[short(p.y.mean) for p in points],
        text=[literal(p.name) if p.named else "" for p in points],
        hovertext=[literal(p.name) for p in points],
        textposition="top center",
        hovertemplate="%{hovertext}: %{x:.4f}, %{y:.3f}<extra></extra>",
        marker={"color": colour, "size": 10 if name == "ours" else 8},
        cliponaxis=False,
    )
    for axis in ("x", "y"):
        halves = [getattr(p, axis).half for p in points]
        if any(half is not None for half in halves):
            ends = {"array": [short(half or 0.0) for half in halves], "thickness": 1, "width": 3}
            found[f"error_{axis}"] = {**ends, "color": f"rgba{(*rgb(colour), 0.5)}"}
    return found
