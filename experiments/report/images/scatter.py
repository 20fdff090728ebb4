"""Accuracy against robustness as an image."""

from __future__ import annotations

from experiments.report.images.frame import Axes, legend, plain
from experiments.report.look import COLOURS, GREY
from experiments.report.plots import Scatter

STYLES = (":", "-.", "--")


def scatter(axes: Axes, plot: Scatter) -> None:
    plain(axes)
    front = sorted((p for p in plot.points if p.front), key=lambda p: p.x.mean)
    if len(front) > 1:
        axes.plot([p.x.mean for p in front], [p.y.mean for p in front], color=GREY, label="Pareto front")
    for p in plot.points:
        colour = COLOURS[1] if p.strong else COLOURS[0]
        axes.errorbar(
            p.x.mean, p.y.mean, p.y.half, p.x.half, fmt="o", color=colour, elinewidth=0.7, markersize=5
        )
        if p.named:
            at = (p.x.mean, p.y.mean)
            axes.annotate(p.name, at, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
    for (name, x), style in zip(plot.marks.items(), STYLES, strict=False):
        axes.axvline(x, color=GREY, linestyle=style, linewidth=1, label=name)
    axes.set(xlabel=plot.x, ylabel=plot.y)
    legend(axes)
