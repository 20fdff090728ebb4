"""Learning curves for the page."""

from __future__ import annotations

from html import escape

from experiments.report.interactive.layout import Spec, layout, short
from experiments.report.look import COLOURS, GREY
from experiments.report.plots import Line, Lines


def lines(plot: Lines) -> Spec:
    data = [trace for line in plot.lines for trace in _line(line)]
    around = layout(plot.x, plot.y, 440)
    around["legend"]["traceorder"] = "reversed"  # the first is drawn last, above the others
    return {"data": data, "layout": around}


def _line(line: Line) -> list[Spec]:
    """The band (one trace there and back), then the mean."""
    colour = GREY if line.colour is None else COLOURS[line.colour]
    grey = line.colour is None
    mean = {
        "type": "scatter",
        "mode": "lines" if len(line.x) > 1 else "markers",  # a line needs two points to be seen
        "name": escape(line.name),
        "legendgroup": line.name,
        "showlegend": not grey,
        "opacity": 0.45 if grey else 1,
        "x": list(line.x),
        "y": [short(p.mean) for p in line.points],
        "line": {"color": colour, "width": 1 if grey else 2.2},
        "hovertemplate": f"{escape(line.name)}: %{{y:.4f}}<extra></extra>",
    }
    if grey or all(p.half is None for p in line.points):
        return [mean]
    there = [short(min(1.0, p.high)) for p in line.points]  # no metric leaves 0 … 1, an interval may
    back = [short(max(0.0, p.low)) for p in reversed(line.points)]
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
