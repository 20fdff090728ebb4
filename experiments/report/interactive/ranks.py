"""Bars and dots by name for the page."""

from __future__ import annotations

from html import escape

from experiments.report.interactive.layout import Spec, layout, short, upright
from experiments.report.look import COLOURS, GREY
from experiments.report.plots import Ranks, Series


def ranks(plot: Ranks) -> Spec:
    data = [_series(one, plot) for one in plot.series]
    per_name = (16 + 4 * len(plot.series)) if plot.dots else 10 + 13 * len(plot.series)
    least = 320 if len(plot.series) > 2 else 0  # a legend of several lines
    around = layout(plot.x, "", max(least, 130 + per_name * len(plot.names)))
    around["yaxis"] |= {"autorange": "reversed", "type": "category", "tickmode": "linear", "automargin": True}
    around |= {"bargap": 0.25, "hovermode": "closest", "scattermode": "group", "scattergap": 0.3}
    if plot.mark is not None:
        around["shapes"] = [upright(plot.mark, "dot")]
    return {"data": data, "layout": around}


def _series(one: Series, plot: Ranks) -> Spec:
    kept = [(n, v) for n, v in zip(plot.names, one.values, strict=True) if v is not None]
    colour = COLOURS[one.colour]
    found: Spec = {
        "name": escape(one.name),
        "showlegend": len(plot.series) > 1,
        "x": [short(v.mean) for _, v in kept],
        "y": [escape(n) for n, _ in kept],
        "hovertemplate": f"%{{y}}, {escape(one.name)}: %{{x:.4g}}<extra></extra>",
        "marker": {"color": colour},
    }
    if plot.dots:
        sign = {"color": colour, "size": 9, "symbol": "x" if one.apart else "circle"}
        own = {"orientation": "h", "offsetgroup": one.name}  # side by side where they would cover each other
        return found | {"type": "scatter", "mode": "markers", "marker": sign, "cliponaxis": False, **own}
    if any(v.half is not None for _, v in kept):
        array = [short(v.half or 0.0) for _, v in kept]
        below = [short(min(v.half or 0.0, v.mean)) for _, v in kept]  # nothing here is less than 0
        ends = {"array": array, "arrayminus": below, "symmetric": False}
        found["error_x"] = {**ends, "thickness": 1, "width": 2, "color": GREY}
    return found | {"type": "bar", "orientation": "h"}
