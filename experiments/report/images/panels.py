"""Rankings side by side as an image."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.images.frame import Axes, legend
from experiments.report.images.ranks import bars
from experiments.report.plots import Panels


def panels(axes: Sequence[Axes], plot: Panels) -> None:
    """One plot an axis, names at the left of the first, one legend for all."""
    for place, one in zip(axes, plot.panels, strict=True):
        bars(place, one)
        place.set_title(one.title, fontsize=9)
    legend(axes[0])
