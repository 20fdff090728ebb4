"""What is wrong with the updates of a device, or of a device beside all others of its round."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from common.updates import DeviceUpdates
from common.wire import Reason

Faults = dict[int, tuple[Reason, str]]
"""Index of a device in its reply -> why it is refused."""

MIN_COVERAGE = 0.5
"""Share of the median number of non-zero rows that an update must reach."""

NOTHING = "nothing to predict in this slice"

BLOCK = 1 << 20
"""Values looked at at once: what is made beside the updates stays in the cache."""

LARGEST = 1e24
"""Σx² of an update: a million rounds of such do not bring the model's own square beyond float32."""


def faults(updates: DeviceUpdates) -> Faults:
    """Devices whose values no rule can use: each costs only itself, not the others of its node.

    A history claim below 0; NaN or Inf; Σx² beyond ``LARGEST``; values in rows it says it did not touch; no
    row touched at all.
    """
    found: Faults = {}
    square = _square(updates.encoder) + _square(updates.rows)  # [n]
    stray = bare = torch.zeros_like(square, dtype=torch.bool)
    if updates.touched is not None:
        bare = ~updates.touched.any(dim=1)  # [n, K] -> [n]; its encoder alone would be a round without rows
        stray = (moved_rows(updates.rows) & ~updates.touched).any(dim=1)  # [n, K, d] -> [n]
    suspects = (updates.history < 0) | ~(square <= LARGEST) | stray | bare  # [n]; NaN compares false
    if not bool(suspects.any()):
        return found
    history, squares = updates.history.tolist(), square.tolist()
    empty = (bare & ~stray).tolist()
    for i in suspects.nonzero().squeeze(1).tolist():
        if history[i] < 0:
            found[i] = (Reason.RANGE, f"a history of {history[i]} interactions")
        elif not math.isfinite(squares[i]):
            found[i] = (Reason.NOT_FINITE, "NaN or infinite values")
        elif squares[i] > LARGEST:
            found[i] = (Reason.NORM, f"norm {math.sqrt(squares[i]):.3g}; at most {math.sqrt(LARGEST):.0e}")
        elif empty[i]:
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
    counts = [moved_rows(p.rows).sum(dim=1) for p in parts]  # [n] each
    idle = [resting(c, p.encoder) for c, p in zip(counts, parts, strict=True)]
    every = [(c.cpu(), i.cpu()) for c, i in zip(counts, idle, strict=True)]
    busy = torch.cat([c[~i] for c, i in every] or [torch.zeros(0)]).double()
    least = MIN_COVERAGE * float(busy.quantile(0.5)) if len(busy) else 0.0
    found: list[Faults] = []
    for count, nothing in every:
        faults_: Faults = {}
        for i in (nothing | (count < least)).nonzero().squeeze(1).tolist():
            if nothing[i]:
                faults_[i] = (Reason.IDLE, NOTHING)
            else:
                text = f"non-zero rows of at least {least:g} expected, found {int(count[i])}"
                faults_[i] = (Reason.COVERAGE, text)
        found.append(faults_)
    return found


def resting(moved: Tensor, encoder: Tensor) -> Tensor:
    """Who moved no row and no parameter either: int64 [n], [n, P] -> bool [n]; few encoders are looked at."""
    idle = moved == 0
    idle[idle.clone()] = (encoder[idle] == 0).all(dim=1)
    return idle


def moved_rows(rows: Tensor) -> Tensor:
    """Which rows are not zero: [n, K, d] -> bool [n, K], in blocks of devices."""
    step = max(1, BLOCK // max(1, rows[:1].numel()))
    # on a CPU ten times as fast as (some != 0).any(dim=2)
    return torch.cat([some.abs().amax(dim=2) != 0 for some in torch.split(rows, step)])
