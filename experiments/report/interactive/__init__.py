"""Plots for the page, as the plain data that plotly.js draws."""

from __future__ import annotations

from experiments.report.interactive.layout import Spec, titled
from experiments.report.interactive.lines import lines
from experiments.report.interactive.ranks import ranks
from experiments.report.interactive.scatter import scatter
from experiments.report.plots import Heatmap, Lines, Panels, Plot, Ranks, Scatter

__all__ = ["Spec", "spec", "specs"]


def specs(plot: Plot) -> list[Spec]:
    """One chart after the other; none for a heatmap, which is a table on the page."""
    if isinstance(plot, Heatmap):
        return []
    if not isinstance(plot, Panels):
        return [spec(plot)]
    found = [v.mean for one in plot.panels for s in one.series for v in s.values if v is not None]
    low, high = min([0.0, *found]), max([0.0, *found])
    room = 0.06 * (high - low) or 1.0
    return [titled(spec(one), one.title, (low - room, high + room)) for one in plot.panels]


def spec(plot: Lines | Scatter | Ranks) -> Spec:
    """``{data, layout}`` for Plotly.react; text and grid colours are the page's."""
    if isinstance(plot, Lines):
        return lines(plot)
    return scatter(plot) if isinstance(plot, Scatter) else ranks(plot)
