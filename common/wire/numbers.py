"""Checks on received vectors of numbers: ranges, order, repetition."""

from __future__ import annotations

import torch
from torch import Tensor

from common.wire.reasons import Reason, fail


def within(field: str, values: Tensor, low: int, high: int | None = None) -> None:
    """Every value lies in low..high (no upper bound when None). Raises WireError."""
    if values.numel() == 0:
        return
    smallest, largest = int(values.min()), int(values.max())
    if smallest < low or (high is not None and largest > high):
        limit = f"{low}..{high}" if high is not None else f"at least {low}"
        fail(field, Reason.RANGE, f"expected {limit}, found {smallest}..{largest}")


def ascending(field: str, values: Tensor) -> None:
    """Strictly ascending, hence unique. Raises WireError that tells repetition from disorder."""
    unique(field, values)
    if bool((values[1:] < values[:-1]).any()):
        fail(field, Reason.ORDER, "expected ascending numbers")


def unique(field: str, values: Tensor) -> None:
    ordered = values.sort().values
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        fail(field, Reason.DUPLICATE, f"{int(repeated[0])} appears more than once")


def finite(field: str, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        fail(field, Reason.NOT_FINITE, "NaN or infinite values")
