"""Bytes, seconds and shares as people read them."""

from __future__ import annotations

import os
import sys

from rich.console import Console


def listing() -> Console:
    """A console for tables of names: as wide as the terminal, and in a file as wide as they are."""
    given = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if given else Console(width=1000)


def bytes_text(number: float) -> str:
    """``812 B``, ``1.3 MB``, ``16 GB``: powers of 1000, two digits at least."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 9.95 else f"{size:.1f} {unit}"


def seconds_text(seconds: float) -> str:
    """``0.42 s``, ``40 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def share_text(share: float) -> str:
    """``20%``, ``0.1%``: a small share is not nothing."""
    return f"{100 * share:.3g}%"
