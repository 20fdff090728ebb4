"""The colours of figures, and the ink that is read on them."""

from __future__ import annotations

COLOURS = ("#3f86d9", "#e0803a", "#2fa08f", "#c75590", "#8d72d6", "#a3963a", "#d2544f", "#5f9e3e")
GREY = "#8a929c"
SCALE = ("#b3491b", "#e58e4f", "#f6d9b8", "#eef0f2", "#bcd7ee", "#6aa5d8", "#2563a8")
"""From worst to best; told apart by people who do not tell red from green."""


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def scaled(value: float, worst: float, best: float) -> str:
    """The colour of ``value``, ``#rrggbb``, linear between the stops of SCALE."""
    place = min(1.0, max(0.0, (value - worst) / (best - worst))) * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    pairs = zip(rgb(SCALE[low]), rgb(SCALE[low + 1]), strict=True)
    return "#" + "".join(f"{round(a + (place - low) * (b - a)):02x}" for a, b in pairs)


def ink(colour: str) -> str:
    """Black or white, whichever is read better on ``colour``: by the relative luminance of WCAG 2."""
    units = [channel / 255 for channel in rgb(colour)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in units]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"
