"""Accuracy against robustness for the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from experiments.report.interactive.layout import Spec, layout, short, upright
from experiments.report.look import COLOURS, GREY
from experiments.report.plots import Point, Scatter

DASHES = ("dot", "dashdot", "dash")


def scatter(plot: Scatter) -> Spec:
    front = sorted((p for p in plot.points if p.front), key=lambda p: p.x.mean)
    path = {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "x": [short(p.x.mean) for p in front],
        "y": [short(p.y.mean) for p in front],
        "line": {"color": GREY, "width": 1.5},
        "hoverinfo": "skip",
    }
    groups = {
        "ours": ([p for p in plot.points if p.strong], COLOURS[1]),
        "others": ([p for p in plot.points if not p.strong], COLOURS[0]),
    }
    joined = [path] if len(front) > 1 else []
    data = [*joined, *(_points(name, points, colour) for name, (points, colour) in groups.items() if points)]
    around = layout(plot.x, plot.y, 460)
    around["shapes"] = [upright(x, DASHES[i % len(DASHES)]) for i, x in enumerate(plot.marks.values())]
    around["annotations"] = [_name(name, x) for name, x in plot.marks.items()]
    return {"data": data, "layout": around}


def _name(name: str, x: float) -> Spec:
    side = {"xanchor": "right", "yanchor": "bottom", "textangle": -90, "showarrow": False}
    return {"x": x, "y": 0, "yref": "paper", "text": escape(name), **side}


def _points(name: str, points: Sequence[Point], colour: str) -> Spec:
    found = {
        "type": "scatter",
        "mode": "markers+text",
        "name": name,
        "x": [short(p.x.mean) for p in points],
        "y": [short(p.y.mean) for p in points],
        "text": [escape(p.name) if p.named else "" for p in points],
        "hovertext": [escape(p.name) for p in points],
        "textposition": "top center",
        "hovertemplate": "%{hovertext}: %{x:.4f}, %{y:.3f}<extra></extra>",
        "marker": {"color": colour, "size": 10 if name == "ours" else 8},
        "cliponaxis": False,
    }
    for axis in ("x", "y"):
        halves = [getattr(p, axis).half for p in points]
        if any(h is not None for h in halves):
            array = [short(h or 0.0) for h in halves]
            found[f"error_{axis}"] = {"array": array, "thickness": 1, "width": 0, "color": f"{colour}80"}
    return found
