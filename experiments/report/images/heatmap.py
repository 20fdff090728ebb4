"""Strategy × attack as an image."""

from __future__ import annotations

from matplotlib.patches import Rectangle

from experiments.report.images.frame import Axes
from experiments.report.look import brief, ink, scaled
from experiments.report.plots import Heatmap


def heatmap(axes: Axes, plot: Heatmap) -> None:
    for r, row in enumerate(plot.cells):
        for c, found in enumerate(row):
            colour = "#ffffff" if found is None else scaled(found.mean, plot.worst, plot.best)
            axes.add_patch(_square(c, r, colour))
            text = "–" if found is None else brief(found.mean)
            axes.text(c, r, text, ha="center", va="center", fontsize=7, color=ink(colour))
    axes.set_xlim(-0.5, len(plot.columns) - 0.5)
    axes.set_ylim(len(plot.rows) - 0.5, -0.5)
    axes.set_xticks(range(len(plot.columns)), plot.columns, rotation=90, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(plot.rows)), plot.rows, fontsize=8)
    for label, name in zip(axes.get_yticklabels(), plot.rows, strict=True):
        label.set_fontweight("bold" if name in plot.strong else "normal")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _square(c: int, r: int, colour: str) -> Rectangle:
    return Rectangle((c - 0.5, r - 0.5), 1, 1, facecolor=colour, edgecolor="#ffffff", linewidth=0.8)
