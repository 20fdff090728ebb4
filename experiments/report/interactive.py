"""Plots for the page, as the plain data that plotly.js draws."""

from __future__ import annotations

from html import escape
from typing import Any

from experiments.report.look import COLOURS, GREY
from experiments.report.plots import Line, Lines, Point, Ranks, Scatter, Series

Spec = dict[str, Any]
DASHES = ("dot", "dashdot", "dash")


def spec(plot: Lines | Scatter | Ranks) -> Spec:
    """``{data, layout}`` for Plotly.react; text and grid colours are the page's."""
    if isinstance(plot, Lines):
        return lines(plot)
    return scatter(plot) if isinstance(plot, Scatter) else ranks(plot)


def lines(plot: Lines) -> Spec:
    data = [trace for line in plot.lines for trace in _line(line)]
    layout = _layout(plot.x, plot.y, 440)
    layout["legend"]["traceorder"] = "reversed"  # the first is drawn last, above the others
    return {"data": data, "layout": layout}


def _line(line: Line) -> list[Spec]:
    """The band (one trace there and back), then the mean."""
    colour = GREY if line.colour is None else COLOURS[line.colour]
    grey = line.colour is None
    mean = {
        "type": "scatter",
        "mode": "lines",
        "name": escape(line.name),
        "legendgroup": line.name,
        "showlegend": not grey,
        "opacity": 0.45 if grey else 1,
        "x": list(line.x),
        "y": [_short(p.mean) for p in line.points],
        "line": {"color": colour, "width": 1 if grey else 2.2},
        "hovertemplate": f"{escape(line.name)}: %{{y:.4f}}<extra></extra>",
    }
    if grey or all(p.half is None for p in line.points):
        return [mean]
    there = [_short(min(1.0, p.high)) for p in line.points]  # no metric leaves 0 … 1, an interval may
    back = [_short(max(0.0, p.low)) for p in reversed(line.points)]
    band = {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": line.name,
        "showlegend": False,
        "hoverinfo": "skip",
        "x": [*line.x, *reversed(line.x)],
        "y": [*there, *back],
        "fill": "toself",
        "fillcolor": f"{colour}2e",
        "line": {"width": 0},
    }
    return [band, mean]


def scatter(plot: Scatter) -> Spec:
    front = sorted((p for p in plot.points if p.front), key=lambda p: p.x.mean)
    path = {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "x": [_short(p.x.mean) for p in front],
        "y": [_short(p.y.mean) for p in front],
        "line": {"color": GREY, "width": 1.5},
        "hoverinfo": "skip",
    }
    groups = {
        "ours": ([p for p in plot.points if p.strong], COLOURS[1]),
        "others": ([p for p in plot.points if not p.strong], COLOURS[0]),
    }
    data = [path, *(_points(name, points, colour) for name, (points, colour) in groups.items() if points)]
    layout = _layout(plot.x, plot.y, 460)
    layout["shapes"] = [
        {
            "type": "line",
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "x0": x,
            "x1": x,
            "line": {"dash": DASHES[i % len(DASHES)], "width": 1, "color": GREY},
        }
        for i, x in enumerate(plot.marks.values())
    ]
    layout["annotations"] = [
        {
            "x": x,
            "y": 0,
            "yref": "paper",
            "text": escape(name),
            "textangle": -90,
            "showarrow": False,
            "xanchor": "right",
            "yanchor": "bottom",
        }
        for name, x in plot.marks.items()
    ]
    return {"data": data, "layout": layout}


def _points(name: str, points: list[Point], colour: str) -> Spec:
    found = {
        "type": "scatter",
        "mode": "markers+text",
        "name": name,
        "x": [_short(p.x.mean) for p in points],
        "y": [_short(p.y.mean) for p in points],
        "text": [escape(p.name) if p.front or p.strong else "" for p in points],
        "hovertext": [escape(p.name) for p in points],
        "textposition": "top center",
        "hovertemplate": "%{hovertext}: %{x:.4f}, %{y:.3f}<extra></extra>",
        "marker": {"color": colour, "size": 10 if name == "ours" else 8},
        "cliponaxis": False,
    }
    for axis in ("x", "y"):
        halves = [getattr(p, axis).half for p in points]
        if any(h is not None for h in halves):
            array = [_short(h or 0.0) for h in halves]
            found[f"error_{axis}"] = {"array": array, "thickness": 1, "width": 0, "color": f"{colour}80"}
    return found


def ranks(plot: Ranks) -> Spec:
    data = [_series(one, plot) for one in plot.series]
    per_name = 22 if plot.dots else 10 + 13 * len(plot.series)
    least = 320 if len(plot.series) > 2 else 0  # a legend of several lines
    layout = _layout(plot.x, "", max(least, 130 + per_name * len(plot.names)))
    layout["yaxis"] |= {"autorange": "reversed", "type": "category", "tickmode": "linear", "automargin": True}
    layout |= {"bargap": 0.25, "hovermode": "closest"}
    if plot.mark is not None:
        line = {"dash": "dot", "width": 1, "color": GREY}
        layout["shapes"] = [
            {
                "type": "line",
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "x0": plot.mark,
                "x1": plot.mark,
                "line": line,
            }
        ]
    return {"data": data, "layout": layout}


def _series(one: Series, plot: Ranks) -> Spec:
    kept = [(n, v) for n, v in zip(plot.names, one.values, strict=True) if v is not None]
    colour = COLOURS[one.colour]
    found: Spec = {
        "name": escape(one.name),
        "showlegend": len(plot.series) > 1,
        "x": [_short(v.mean) for _, v in kept],
        "y": [escape(n) for n, _ in kept],
        "hovertemplate": f"%{{y}}, {escape(one.name)}: %{{x:.4g}}<extra></extra>",
        "marker": {"color": colour},
    }
    if plot.dots:
        return found | {"type": "scatter", "mode": "markers", "marker": {"color": colour, "size": 9}}
    if any(v.half is not None for _, v in kept):
        array = [_short(v.half or 0.0) for _, v in kept]
        found["error_x"] = {"array": array, "thickness": 1, "width": 2, "color": GREY}
    return found | {"type": "bar", "orientation": "h"}


def _layout(x: str, y: str, height: int) -> Spec:
    return {
        "height": height,
        "margin": {"l": 60, "r": 12, "t": 40, "b": 56},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif"},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "itemwidth": 30,
            "font": {"size": 11},
        },
        "xaxis": {"title": {"text": escape(x)}, "automargin": True},
        "yaxis": {"title": {"text": escape(y)}, "automargin": True},
        "hovermode": "closest",
    }


def _short(value: float) -> float:
    """Five digits: what an eye can tell, at half the bytes."""
    return float(f"{value:.5g}")
