"""Checks of parameters."""

from __future__ import annotations

from collections.abc import Sequence


def one_of(**values: tuple[object, Sequence[object]]) -> None:
    """Raise ValueError unless each value is among its choices."""
    for name, (value, choices) in values.items():
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, given {value!r}")


def count(least: int, **values: object) -> None:
    """Raise ValueError unless every value is a whole number of at least ``least``."""
    for name, value in values.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, given {value!r}")


def positive(**values: float) -> None:
    """Raise ValueError unless every value is finite and above 0."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be finite and above 0, given {value}")


def unit(**values: float) -> None:
    """Raise ValueError unless every value lies in [0, 1)."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), given {value}")
