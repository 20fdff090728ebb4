"""Bars and dots by name as an image."""

from __future__ import annotations

from experiments.report.images.frame import Axes, legend, plain
from experiments.report.look import COLOURS, GREY
from experiments.report.plots import Ranks


def ranks(axes: Axes, plot: Ranks) -> None:
    bars(axes, plot)
    if len(plot.series) > 1:
        legend(axes)


def bars(axes: Axes, plot: Ranks) -> None:
    """Without a legend."""
    plain(axes)
    wide = 0.75 / len(plot.series)
    for i, one in enumerate(plot.series):
        kept = [(n, v) for n, v in enumerate(one.values) if v is not None]
        x = [v.mean for _, v in kept]
        y = [n + (i - (len(plot.series) - 1) / 2) * wide for n, _ in kept]
        if plot.dots:
            sign = "X" if one.apart else "o"
            axes.plot(x, y, sign, color=COLOURS[one.colour], label=one.name, markersize=5)
            continue
        halves = [v.half or 0.0 for _, v in kept]
        ends = [[min(half, mean) for half, mean in zip(halves, x, strict=True)], halves]  # none below 0
        errors = {"xerr": ends, "error_kw": {"elinewidth": 0.8, "ecolor": GREY}} if any(halves) else {}
        axes.barh(y, x, wide * 0.95, color=COLOURS[one.colour], label=one.name, **errors)
    if plot.mark is not None:
        axes.axvline(plot.mark, color=GREY, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(plot.names)), plot.names, fontsize=8)
    axes.set_ylim(len(plot.names) - 0.5, -0.5)
    axes.set_xlabel(plot.x)
