"""What every interactive plot shares: margins, legend, axes, marks across the plot."""

from __future__ import annotations

from html import escape
from typing import Any

from experiments.report.look import GREY

Spec = dict[str, Any]


def layout(x: str, y: str, height: int) -> Spec:
    """The page behind shows through; the legend stands above."""
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


def titled(spec: Spec, title: str, across: tuple[float, float]) -> Spec:
    """With a title above the legend, and the ends of the x axis ``across``."""
    text = {"text": f"<b>{escape(title)}</b>", "font": {"size": 13}, "x": 0, "xref": "paper"}
    place = {"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 6}}
    around = spec["layout"]
    margin = around["margin"] | {"t": around["margin"]["t"] + 40}
    ends = around["xaxis"] | {"range": [short(end) for end in across]}
    return spec | {"layout": around | {"title": text | place, "margin": margin, "xaxis": ends}}


def upright(x: float, dash: str) -> Spec:
    """A line from the bottom to the top at ``x``."""
    line = {"dash": dash, "width": 1, "color": GREY}
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": line}


def short(value: float) -> float:
    """Five digits: what an eye can tell, at half the bytes."""
    return float(f"{value:.5g}")
