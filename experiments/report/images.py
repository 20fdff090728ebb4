"""The same plots as PNG and SVG, by matplotlib, on white."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.report.look import COLOURS, GREY, brief, ink, scaled
from experiments.report.plots import Heatmap, Lines, Plot, Ranks, Scatter

Axes = Any
STYLES = (":", "-.", "--")
FORMATS = ("png", "svg")
DPI = 150


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
    figure = Figure(figsize=size(plot), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    if isinstance(plot, Heatmap):
        _heatmap(axes, plot)
        return figure
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(True, color="#e3e6ea", linewidth=0.6)
    axes.set_axisbelow(True)
    if isinstance(plot, Lines):
        _lines(axes, plot)
    elif isinstance(plot, Scatter):
        _scatter(axes, plot)
    else:
        _ranks(axes, plot)
    return figure


def size(plot: Plot) -> tuple[float, float]:
    """Inches: a heatmap and a ranking grow with their names, so that every one stays readable."""
    if isinstance(plot, Heatmap):
        return 2.0 + 0.36 * len(plot.columns), 1.9 + 0.24 * len(plot.rows)
    if isinstance(plot, Ranks):
        per_name = 0.24 if plot.dots else 0.12 + 0.14 * len(plot.series)
        return 7.0, 1.4 + per_name * len(plot.names)
    return 7.0, 4.4


def _heatmap(axes: Axes, plot: Heatmap) -> None:
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


def _square(c: int, r: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((c - 0.5, r - 0.5), 1, 1, facecolor=colour, edgecolor="#ffffff", linewidth=0.8)


def _lines(axes: Axes, plot: Lines) -> None:
    for line in plot.lines:
        colour = GREY if line.colour is None else COLOURS[line.colour]
        grey = line.colour is None
        means = [p.mean for p in line.points]
        axes.plot(
            line.x,
            means,
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
    _legend(axes, -1)  # the first is drawn last, above the others


def _scatter(axes: Axes, plot: Scatter) -> None:
    front = sorted((p for p in plot.points if p.front), key=lambda p: p.x.mean)
    axes.plot([p.x.mean for p in front], [p.y.mean for p in front], color=GREY, label="Pareto front")
    for p in plot.points:
        colour = COLOURS[1] if p.strong else COLOURS[0]
        axes.errorbar(
            p.x.mean, p.y.mean, p.y.half, p.x.half, fmt="o", color=colour, elinewidth=0.7, markersize=5
        )
        if p.front or p.strong:
            at = (p.x.mean, p.y.mean)
            axes.annotate(p.name, at, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
    for (name, x), style in zip(plot.marks.items(), STYLES, strict=False):
        axes.axvline(x, color=GREY, linestyle=style, linewidth=1, label=name)
    axes.set(xlabel=plot.x, ylabel=plot.y)
    _legend(axes)


def _ranks(axes: Axes, plot: Ranks) -> None:
    wide = 0.75 / len(plot.series)
    for i, one in enumerate(plot.series):
        kept = [(n, v) for n, v in enumerate(one.values) if v is not None]
        x = [v.mean for _, v in kept]
        if plot.dots:
            axes.plot(x, [n for n, _ in kept], "o", color=COLOURS[one.colour], label=one.name, markersize=5)
            continue
        y = [n + (i - (len(plot.series) - 1) / 2) * wide for n, _ in kept]
        halves = [v.half or 0.0 for _, v in kept]
        bars = {"xerr": halves, "error_kw": {"elinewidth": 0.8, "ecolor": GREY}} if any(halves) else {}
        axes.barh(y, x, wide * 0.95, color=COLOURS[one.colour], label=one.name, **bars)
    if plot.mark is not None:
        axes.axvline(plot.mark, color=GREY, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(plot.names)), plot.names, fontsize=8)
    axes.set_ylim(len(plot.names) - 0.5, -0.5)
    axes.set_xlabel(plot.x)
    if len(plot.series) > 1:
        _legend(axes)


def _legend(axes: Axes, step: int = 1) -> None:
    handles, names = axes.get_legend_handles_labels()
    if names:
        place = {"loc": "outside lower center", "ncols": 4, "fontsize": 8, "frameon": False}
        axes.figure.legend(handles[::step], names[::step], **place)
