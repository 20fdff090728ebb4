"""What admission checks device by device, once a reply's structure is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from common.updates import DeviceUpdates
from common.wire import Reason

Faults = dict[int, tuple[Reason, str]]
"""Index of a device in its reply -> why it is refused."""

MIN_COVERAGE = 0.5
"""Share of the median number of non-zero rows that an update must reach."""

LARGEST = torch.finfo(torch.float32).max


def faults(updates: DeviceUpdates) -> Faults:
    """Devices whose values no rule can use: each costs only itself, not the others of its node.

    A history claim below 0; NaN or Inf; Σx² beyond float32; values in rows it says it did not touch; no row
    touched at all.
    """
    found: Faults = {}
    square = _square(updates.encoder) + _square(updates.rows)  # [n]
    stray, bare = torch.zeros(2, len(updates), dtype=torch.bool)
    if updates.touched is not None:
        bare = ~updates.touched.any(dim=1)  # [n, K] -> [n]; its encoder alone would be a round without rows
        stray = ((updates.rows != 0).any(dim=2) & ~updates.touched).any(dim=1)  # [n, K, d] -> [n]
    suspects = (updates.history < 0) | ~(square <= LARGEST) | stray | bare  # [n]; NaN compares false
    for i in suspects.nonzero().squeeze(1).tolist():
        if updates.history[i] < 0:
            found[i] = (Reason.RANGE, f"a history of {int(updates.history[i])} interactions")
        elif not bool(square[i].isfinite()):
            found[i] = (Reason.NOT_FINITE, "NaN or infinite values")
        elif square[i] > LARGEST:
            found[i] = (Reason.NORM, f"norm {float(square[i].sqrt()):.3g}: its square overflows float32")
        elif bare[i] and not stray[i]:
            found[i] = (Reason.IDLE, "no row was trained")
        else:
            found[i] = (Reason.UNEXPECTED, "values in rows that it says it did not touch")
    return found


def _square(values: Tensor) -> Tensor:
    """Σx² of [n, …] -> float64 [n]; NaN and Inf stay.

    float32 first, which is enough for all but the few that overflow it: those are summed in float64.
    """
    flat = values.reshape(len(values), -1) if len(values) else values.reshape(0, 0)
    square: Tensor = torch.linalg.vector_norm(flat, dim=1).square().double()
    overflown = ~square.isfinite()
    if bool(overflown.any()):
        square[overflown] = torch.linalg.vector_norm(flat[overflown], dim=1, dtype=torch.float64).square()
    return square


def thin(parts: Sequence[DeviceUpdates]) -> list[Faults]:
    """Devices of a round whose rows are mostly zero, against the median over all its devices.

    With one slice for all, an honest softmax pushes every row of it: an update of a few rows aims at
    those rows. A device with nothing to predict in the slice sends only zeros: it is left out as idle,
    so that it neither dilutes the mean nor moves a median. Only for ``negatives: full | slice``.
    """
    counts = [(p.rows != 0).any(dim=2).sum(dim=1) for p in parts]  # [n, K, d] -> [n] each
    idle = [(c == 0) & (p.encoder == 0).all(dim=1) for c, p in zip(counts, parts, strict=True)]
    busy = torch.cat([c[~i] for c, i in zip(counts, idle, strict=True)] or [torch.zeros(0)]).double()
    least = MIN_COVERAGE * float(busy.quantile(0.5)) if len(busy) else 0.0
    found: list[Faults] = []
    for count, resting in zip(counts, idle, strict=True):
        faults_: Faults = {}
        for i, c in enumerate(count.tolist()):
            if resting[i]:
                faults_[i] = (Reason.IDLE, "nothing to predict in this slice")
            elif c < least:
                text = f"non-zero rows of at least {least:g} expected, found {c}"
                faults_[i] = (Reason.COVERAGE, text)
        found.append(faults_)
    return found


def prune(updates: DeviceUpdates) -> DeviceUpdates:
    """Without the items that no device touched: a node cannot inflate the union of a round for free."""
    if updates.touched is None:
        return updates
    used = updates.touched.any(dim=0)  # [K]
    return replace(
        updates, items=updates.items[used], rows=updates.rows[:, used], touched=updates.touched[:, used]
    )
