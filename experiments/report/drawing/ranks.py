"""Bars or dots by name, alone and side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from experiments.report.drawing.colours import COLOURS, GREY
from experiments.report.drawing.frame import LETTER, LINE, frame, literal, short, upright
from experiments.report.plots import Panels, Ranks, Series


def ranks(plot: Ranks) -> go.Figure:
    """Bars or dots by name, the first name on top."""
    return _ranked([plot], plot.x)


def panels(plot: Panels) -> go.Figure:
    """Rankings of the same names side by side, each under its title, with one scale and one legend."""
    figure = _ranked(plot.panels, plot.panels[0].x)
    found = [v.mean for one in plot.panels for s in one.series for v in s.values if v is not None]
    low, high = min([0.0, *found]), max([0.0, *found])
    room = 0.06 * (high - low) or 1.0
    figure.update_xaxes(range=[short(low - room if low < 0 else 0.0), short(high + room)], title_text="")
    figure.layout[f"xaxis{len(plot.panels) // 2 + 1}".removesuffix("1")].title.text = literal(
        plot.panels[0].x
    )
    for i, one in enumerate(plot.panels):
        place = {"xref": f"{_axis(i)} domain", "x": 0, "xanchor": "left", "yref": "paper", "y": 1}
        figure.add_annotation(
            place, yanchor="bottom", showarrow=False, text=f"<b>{literal(_cut(one.title))}</b>"
        )
    least = LETTER * max(map(len, plot.panels[0].names)) + 220 * len(plot.panels)
    return figure.update_layout(meta={"least": least}, margin_t=34)


def _ranked(plots: Sequence[Ranks], x: str) -> go.Figure:
    first = plots[0]
    per_name = (16 + 4 * len(first.series)) if first.dots else 10 + 13 * len(first.series)
    figure = frame(x, "", 130 + LINE * (len(first.series) > 2) + per_name * len(first.names))
    wide = 1 / len(plots)
    for i, plot in enumerate(plots):
        figure.add_traces([_series(one, plot, i) for one in plot.series])
        if not plot.dots:
            figure.add_traces([one for series in plot.series if (one := _seeds(series, plot, i)) is not None])
        if i:
            figure.layout[f"xaxis{i + 1}"] = {**figure.layout.xaxis.to_plotly_json(), "anchor": "y"}
        if plot.mark is not None:
            figure.add_shape(upright(plot.mark, "dot", _axis(i)))
        figure.layout[f"xaxis{i + 1 if i else ''}"].domain = [
            i * wide,
            (i + 1) * wide - 0.02 * (len(plots) > 1),
        ]
    names = [literal(name) for name in first.names]
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=names,
        range=[len(names) - 0.5, -0.5],
        tickmode="linear",
        ticklabelstandoff=6,
    )
    return figure.update_layout(bargap=0.25, scattermode="group", scattergap=0.3)


def _series(one: Series, plot: Ranks, place: int) -> go.Bar | go.Scatter:
    kept = [(n, v) for n, v in zip(plot.names, one.values, strict=True) if v is not None]
    colour = COLOURS[one.colour]
    found: dict[str, Any] = {
        "name": literal(one.name),
        "legendgroup": one.name,
        "showlegend": len(plot.series) > 1 and place == 0,
        "x": [short(v.mean) for _, v in kept],
        "y": [literal(n) for n, _ in kept],
        "xaxis": _axis(place),
        "orientation": "h",
        "hovertemplate": f"%{{y}}, {literal(one.name)}: %{{x:.4g}}<extra></extra>",
    }
    if plot.dots:
        sign = {"color": colour, "size": 9, "symbol": "x" if one.apart else "circle"}
        # in a group: side by side where they would cover each other
        return go.Scatter(found, mode="markers", marker=sign, cliponaxis=False, offsetgroup=one.name)
    bars = go.Bar(found, marker={"color": colour})
    if any(v.half is not None for _, v in kept):
        array = [short(v.half or 0.0) for _, v in kept]
        below = [short(min(v.half or 0.0, v.mean)) for _, v in kept]  # nothing here is less than 0
        ends = {"array": array, "arrayminus": below, "symmetric": False}
        bars.error_x = {**ends, "thickness": 1, "width": 2, "color": GREY}
    return bars


def _seeds(one: Series, plot: Ranks, place: int) -> go.Scatter | None:
    """A point a seed on the bars, where these are too few for an interval."""
    few = [
        (name, value)
        for name, v in zip(plot.names, one.values, strict=True)
        if v is not None and v.half is None and v.n > 1
        for value in v.seeds.values()
    ]
    if not few:
        return None
    return go.Scatter(
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        x=[short(value) for _, value in few],
        y=[literal(name) for name, _ in few],
        xaxis=_axis(place),
        offsetgroup=one.name,
        marker={"color": GREY, "size": 5},
    )


def _axis(place: int) -> str:
    return f"x{place + 1}" if place else "x"


def _cut(title: str) -> str:
    return textwrap.shorten(title, 28, placeholder=" …")
