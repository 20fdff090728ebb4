"""Checks that several rules share."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import RunError
from common.updates import DeviceUpdates


def need(updates: DeviceUpdates, least: int, why: str) -> int:
    """The number of devices n. Raises RunError, stating the bound, when n < ``least``."""
    n = len(updates)
    if n < least:
        raise RunError(f"{why} needs at least {least} updates, this round has {n}")
    return n


def one_of(**values: tuple[object, Sequence[object]]) -> None:
    """Raise ValueError unless each value is among its choices."""
    for name, (value, choices) in values.items():
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, given {value!r}")


def at_least(bound: float, **values: float) -> None:
    """Raise ValueError unless every value is at least ``bound``."""
    for name, value in values.items():
        if not value >= bound:
            raise ValueError(f"{name} must be at least {bound}, given {value}")


def above(bound: float, **values: float) -> None:
    """Raise ValueError unless every value is above ``bound``."""
    for name, value in values.items():
        if not value > bound:
            raise ValueError(f"{name} must be above {bound}, given {value}")
