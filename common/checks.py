"""Checks of parameters."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TypeGuard


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
    """Raise ValueError unless every value is above 0, and a float can hold it."""
    for name, value in values.items():
        if not 0 < value <= sys.float_info.max:
            raise ValueError(f"{name} must be finite and above 0, given {value}")


def within(least: float, most: float, **values: float) -> None:
    """Raise ValueError unless every value lies from ``least`` to ``most``."""
    for name, value in values.items():
        if not least <= value <= most:
            raise ValueError(f"{name} must be a number from {least} to {most}, given {value}")


def unit(**values: float) -> None:
    """Raise ValueError unless every value lies in [0, 1)."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), given {value}")


def too_long(value: object) -> TypeGuard[int]:
    """Whether it is a whole number that no float holds, nor a library that computes with floats."""
    return isinstance(value, int) and abs(value) > sys.float_info.max


def shown(value: object) -> str:
    """A value as a message gives it: of a very long number, which Python may not write out, its length."""
    if too_long(value):
        return f"a whole number of {int(math.log10(abs(value))) + 1} digits"
    return repr(value)


PLAIN: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "bool": (bool, "true or false"),
    "float": ((int, float), "a number"),
    "int": (int, "a whole number"),
    "str": (str, "text"),
}
"""Types that a parameter's annotation may name, and how they are told."""


def of_another_type(value: object, annotation: object) -> str:
    """What ``annotation`` asks for in words, where ``value`` is of another plain type; else nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    names = text.split(" | ")
    if not {*names} - {"None"} <= {*PLAIN}:
        return ""  # it says nothing, or more than a plain type: the component's own business
    wanted = [PLAIN[name] for name in names if name != "None"]
    if too_long(value) and "float" in names and "int" not in names:
        return "a finite number"
    truth = isinstance(value, bool)  # which is a number for Python alone
    fits = any(isinstance(value, kind) and truth == (kind is bool) for kind, _ in wanted)
    if fits or (value is None and "None" in names):
        return ""
    return " or ".join(words for _, words in wanted)
