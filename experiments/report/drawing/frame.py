"""What all figures have: the empty one, axes, the length of numbers."""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go

from experiments.report.drawing.colours import GREY

POSSIBLE: dict[str, Any] = {"autorangeoptions": {"clipmin": 0, "clipmax": 1}, "minallowed": 0}
"""An axis of shares: no band or margin makes it show what cannot be. Retained may be a little over 1."""
LETTER, LINE = 7, 18
"""Pixels that a letter and a line of text take."""


def literal(text: str) -> str:
    """``text`` for a figure, which takes tags for what they are; quotation marks it shows as they stand."""
    return escape(text, quote=False)


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
            "xaxis": {**axis, "title": {"text": literal(x)}},
            "yaxis": {**axis, "title": {"text": literal(y)}},
            "hovermode": "closest",
            "meta": {"least": 0},
        }
    )


def upright(x: float, dash: str, axis: str = "x") -> dict[str, Any]:
    line = {"dash": dash, "width": 1, "color": GREY}
    return {"type": "line", "xref": axis, "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": line}


def brief(value: float) -> str:
    """Two decimals without the leading zero, as tables of papers have them."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def short(value: float) -> float:
    """Five digits: what an eye can tell, at half the bytes."""
    return float(f"{value:.5g}")
