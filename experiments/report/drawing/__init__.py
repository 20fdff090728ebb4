"""One function draws one figure: what the page shows is what the image files and a notebook show.

Figures are Plotly's. Colours read on white and on near-black; the page gives text and grid its own.
"""

from __future__ import annotations

import plotly.graph_objects as go

from experiments.report.drawing.heatmap import heatmap
from experiments.report.drawing.lines import lines
from experiments.report.drawing.ranks import panels, ranks
from experiments.report.drawing.scatter import scatter
from experiments.report.plots import Heatmap, Lines, Panels, Plot, Scatter


def draw(plot: Plot) -> go.Figure:
    """The figure of a plot. ``layout.meta["least"]``: fewer pixels across cannot be read."""
    if isinstance(plot, Heatmap):
        return heatmap(plot)
    if isinstance(plot, Lines):
        return lines(plot)
    if isinstance(plot, Scatter):
        return scatter(plot)
    return panels(plot) if isinstance(plot, Panels) else ranks(plot)
