"""Axes and legend that the image files share."""

from __future__ import annotations

from typing import Any

Axes = Any


def plain(axes: Axes) -> None:
    """A thin grid behind, no box around."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(True, color="#e3e6ea", linewidth=0.6)
    axes.set_axisbelow(True)


def legend(axes: Axes, step: int = 1) -> None:
    """Below the plot; ``step`` -1 turns its order round."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        place = {"loc": "outside lower center", "ncols": 4, "fontsize": 8, "frameon": False}
        axes.figure.legend(handles[::step], names[::step], **place)
