"""The same plots as PNG and SVG, by matplotlib, on white."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.report.images.heatmap import heatmap
from experiments.report.images.lines import lines
from experiments.report.images.panels import panels
from experiments.report.images.ranks import ranks
from experiments.report.images.scatter import scatter
from experiments.report.plots import Heatmap, Lines, Panels, Plot, Ranks, Scatter

FORMATS = ("png", "svg")
DPI = 150
LETTERS, LINE = 12, 0.18
"""Letters of a title that an inch holds, and the height of one more line of it."""


def save(plot: Plot, stem: Path, title: str) -> list[Path]:
    """Write ``stem.png`` and ``stem.svg``; returns the paths. The same plot gives the same bytes."""
    figure = draw(plot, title)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for form in FORMATS:
        path = stem.with_name(f"{stem.name}.{form}")
        with rc_context({"svg.hashsalt": "fedsieve"}):
            figure.savefig(path, dpi=DPI, format=form, metadata={"Date": None} if form == "svg" else None)
        paths.append(path)
    return paths


def draw(plot: Plot, title: str) -> Figure:
    """The plot as a figure without a window."""
    width, height = size(plot)
    told = textwrap.wrap(title, int(LETTERS * width))
    figure = Figure(figsize=(width, height + LINE * max(0, len(told) - 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(told), fontsize=10)  # over the whole figure: a heatmap may be narrow
    if isinstance(plot, Panels):
        panels(figure.subplots(1, len(plot.panels), sharex=True, sharey=True, squeeze=False)[0], plot)
        return figure
    axes = figure.add_subplot()
    if isinstance(plot, Heatmap):
        heatmap(axes, plot)
    elif isinstance(plot, Lines):
        lines(axes, plot)
    elif isinstance(plot, Scatter):
        scatter(axes, plot)
    else:
        ranks(axes, plot)
    return figure


def size(plot: Plot) -> tuple[float, float]:
    """Inches: a heatmap and a ranking grow with their names, so that every one stays readable."""
    if isinstance(plot, Heatmap):
        return 2.0 + 0.36 * len(plot.columns), 1.9 + 0.24 * len(plot.rows)
    if isinstance(plot, Ranks):
        per_name = (0.14 + 0.05 * len(plot.series)) if plot.dots else 0.12 + 0.14 * len(plot.series)
        return 7.0, 1.4 + per_name * len(plot.names)
    if isinstance(plot, Panels):
        return 1.2 + 2.9 * len(plot.panels), 0.3 + size(plot.panels[0])[1]
    return 7.0, 4.4
