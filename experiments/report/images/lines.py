"""Learning curves as an image."""

from __future__ import annotations

from experiments.report.images.frame import Axes, legend, plain
from experiments.report.look import COLOURS, GREY
from experiments.report.plots import Lines


def lines(axes: Axes, plot: Lines) -> None:
    plain(axes)
    for line in plot.lines:
        colour = GREY if line.colour is None else COLOURS[line.colour]
        grey = line.colour is None
        means = [p.mean for p in line.points]
        axes.plot(
            line.x,
            means,
            "-" if len(means) > 1 else "o",
            color=colour,
            linewidth=0.7 if grey else 1.6,
            alpha=0.5 if grey else 1,
            label=None if grey else line.name,
        )
        if not grey and any(p.half is not None for p in line.points):
            low = [max(0.0, p.low) for p in line.points]
            high = [min(1.0, p.high) for p in line.points]
            axes.fill_between(line.x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel=plot.x, ylabel=plot.y)
    legend(axes, -1)  # the first is drawn last, above the others
