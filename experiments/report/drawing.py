"""One function draws one figure: what the page shows is what the image files and a notebook show.

Figures are Plotly's. Colours read on white and on near-black; the page gives text and grid its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from experiments.report.plots import Heatmap, Line, Lines, Panels, Plot, Point, Ranks, Scatter, Series
from experiments.report.statistics import Estimate

COLOURS = ("#3f86d9", "#e0803a", "#2fa08f", "#c75590", "#8d72d6", "#a3963a", "#d2544f", "#5f9e3e")
GREY = "#8a929c"
SCALE = ("#b3491b", "#e58e4f", "#f6d9b8", "#eef0f2", "#bcd7ee", "#6aa5d8", "#2563a8")
"""From worst to best; told apart by people who do not tell red from green."""
_POSSIBLE: dict[str, Any] = {"autorangeoptions": {"clipmin": 0, "clipmax": 1}, "minallowed": 0}
"""An axis of shares: no band or margin makes it show what cannot be. Retained may be a little over 1."""
DASHES = ("dot", "dashdot", "dash")
LETTER, LINE = 7, 18
"""Pixels that a letter and a line of text take."""


def draw(plot: Plot) -> go.Figure:
    """The figure of a plot. ``layout.meta["least"]``: fewer pixels across cannot be read."""
    if isinstance(plot, Heatmap):
        return heatmap(plot)
    if isinstance(plot, Lines):
        return lines(plot)
    if isinstance(plot, Scatter):
        return scatter(plot)
    return panels(plot) if isinstance(plot, Panels) else ranks(plot)


def frame(x: str, y: str, height: int) -> go.Figure:
    """An empty figure on whatever lies behind it, the legend below."""
    axis = {"automargin": True, "gridcolor": "#e3e6ea", "zerolinecolor": "#c8ced6"}
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "margin": {"l": 60, "r": 12, "t": 16, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12},
            "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"},
            "xaxis": {**axis, "title": {"text": escape(x)}},
            "yaxis": {**axis, "title": {"text": escape(y)}},
            "hovermode": "closest",
            "meta": {"least": 0},
        }
    )


def heatmap(plot: Heatmap) -> go.Figure:
    """Cells of one size with their numbers, names in full: as wide as it must be."""
    left, top = (LETTER * max(map(len, names), default=0) + 16 for names in (plot.rows, plot.columns))
    figure = frame("", "", top + 24 * len(plot.rows) + 8)
    low, high = sorted((plot.worst, plot.best))
    colours = SCALE if plot.worst < plot.best else SCALE[::-1]
    figure.add_heatmap(
        z=[[None if cell is None else short(cell.mean) for cell in row] for row in plot.cells],
        customdata=[
            [escape(f"{name}, {column}: {_exact(c)}") for column, c in zip(plot.columns, row, strict=True)]
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
    rows = [f"<b>{escape(name)}</b>" if name in plot.strong else escape(name) for name in plot.rows]
    bare = {
        "ticks": "",
        "ticklabelstandoff": 4,
        "showgrid": False,
        "zeroline": False,
        "automargin": False,
        "tickmode": "array",
    }
    columns = [escape(name) for name in plot.columns]
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


def lines(plot: Lines) -> go.Figure:
    """Means over the rounds with their bands; the first is drawn last, above the others."""
    figure = frame(plot.x, plot.y, 440).update_yaxes(**_POSSIBLE)
    for line in plot.lines:
        figure.add_traces(_line(line))
    return figure.update_layout(legend_traceorder="reversed")


def _line(line: Line) -> list[go.Scatter]:
    """The band (one trace there and back), then the mean."""
    grey = line.colour is None
    colour = GREY if line.colour is None else COLOURS[line.colour]
    mean = go.Scatter(
        mode="lines" if len(line.x) > 1 else "markers",  # a line needs two points to be seen
        name=escape(line.name),
        legendgroup=line.name,
        showlegend=not grey,
        opacity=0.45 if grey else 1,
        x=list(line.x),
        y=[short(p.mean) for p in line.points],
        line={"color": colour, "width": 1 if grey else 2.2},
        hovertemplate=f"{escape(line.name)}: %{{y:.4f}}<extra></extra>",
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
        fillcolor=f"rgba{(*_rgb(colour), 0.18)}",
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


def scatter(plot: Scatter) -> go.Figure:
    """Points with their intervals, the front joined, the marks as lines from the bottom to the top."""
    figure = frame(plot.x, plot.y, 460)
    figure.update_xaxes(**_POSSIBLE).update_yaxes(**_POSSIBLE)
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
        figure.add_shape(_upright(x, dash))
        place = {"x": x, "y": 0, "yref": "paper", "xanchor": "right", "yanchor": "bottom", "textangle": -90}
        figure.add_annotation(place, text=escape(name), showarrow=False)
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
        text=[escape(p.name) if p.named else "" for p in points],
        hovertext=[escape(p.name) for p in points],
        textposition="top center",
        hovertemplate="%{hovertext}: %{x:.4f}, %{y:.3f}<extra></extra>",
        marker={"color": colour, "size": 10 if name == "ours" else 8},
        cliponaxis=False,
    )
    for axis in ("x", "y"):
        halves = [getattr(p, axis).half for p in points]
        if any(half is not None for half in halves):
            ends = {"array": [short(half or 0.0) for half in halves], "thickness": 1, "width": 3}
            found[f"error_{axis}"] = {**ends, "color": f"rgba{(*_rgb(colour), 0.5)}"}
    return found


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
    figure.layout[f"xaxis{len(plot.panels) // 2 + 1}".removesuffix("1")].title.text = escape(plot.panels[0].x)
    for i, one in enumerate(plot.panels):
        place = {"xref": f"{_axis(i)} domain", "x": 0, "xanchor": "left", "yref": "paper", "y": 1}
        figure.add_annotation(
            place, yanchor="bottom", showarrow=False, text=f"<b>{escape(_cut(one.title))}</b>"
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
            figure.add_shape(_upright(plot.mark, "dot", _axis(i)))
        figure.layout[f"xaxis{i + 1 if i else ''}"].domain = [
            i * wide,
            (i + 1) * wide - 0.02 * (len(plots) > 1),
        ]
    names = [escape(name) for name in first.names]
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
        "name": escape(one.name),
        "legendgroup": one.name,
        "showlegend": len(plot.series) > 1 and place == 0,
        "x": [short(v.mean) for _, v in kept],
        "y": [escape(n) for n, _ in kept],
        "xaxis": _axis(place),
        "orientation": "h",
        "hovertemplate": f"%{{y}}, {escape(one.name)}: %{{x:.4g}}<extra></extra>",
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
        y=[escape(name) for name, _ in few],
        xaxis=_axis(place),
        offsetgroup=one.name,
        marker={"color": GREY, "size": 5},
    )


def _axis(place: int) -> str:
    return f"x{place + 1}" if place else "x"


def _upright(x: float, dash: str, axis: str = "x") -> dict[str, Any]:
    line = {"dash": dash, "width": 1, "color": GREY}
    return {"type": "line", "xref": axis, "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": line}


def _cut(title: str) -> str:
    return textwrap.shorten(title, 28, placeholder=" …")


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def scaled(value: float, worst: float, best: float) -> str:
    """The colour of ``value``, ``#rrggbb``, linear between the stops of SCALE."""
    place = min(1.0, max(0.0, (value - worst) / (best - worst))) * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    pairs = zip(_rgb(SCALE[low]), _rgb(SCALE[low + 1]), strict=True)
    return "#" + "".join(f"{round(a + (place - low) * (b - a)):02x}" for a, b in pairs)


def ink(colour: str) -> str:
    """Black or white, whichever is read better on ``colour``: by the relative luminance of WCAG 2."""
    units = [channel / 255 for channel in _rgb(colour)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in units]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def brief(value: float) -> str:
    """Two decimals without the leading zero, as tables of papers have them."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def short(value: float) -> float:
    """Five digits: what an eye can tell, at half the bytes."""
    return float(f"{value:.5g}")
