"""How far an item row may drift over many rounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.checks import count, positive
from common.tasks import GlobalModel
from server.constraints.base import Evidence, Outcome, quantile, share
from server.optimizers import ParameterUpdate, State

BAND = 16
"""A band has at least so many rows where the catalogue allows it: the median of fewer is not robust."""


@dataclass(frozen=True)
class RowTrust:
    """‖a·D_i + δ_i‖ ≤ factor · median over rows of like popularity of the same, a = 1 − 1/window.

    D_i ← a·D_i + δ_i is the row's net way over about ``window`` rounds (all rows fade, also those outside
    the slice), so a push that is small in each round and always in one direction adds up, and noise does
    not. Like popularity: the same of ``bands`` equal bands by the server's estimate; only rows that
    moved count in the median. A row beyond its region may come back but go no further.
    """

    window: int = 50
    factor: float = 3.0
    bands: int = 10

    def __post_init__(self) -> None:
        count(1, window=self.window, bands=self.bands)
        positive(factor=self.factor)

    def init(self, start: GlobalModel) -> State:
        return {"way": torch.zeros_like(start.table[1:])}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        index = delta.items.long() - 1
        before = (1 - 1 / self.window) * state["way"]  # [N, d]
        proposed = before[index] + delta.rows  # [K, d]
        size = before.index_copy(0, index, proposed).norm(dim=1)  # [N]
        band = bands(evidence.popularity, self.bands)  # [N]
        limit = self.factor * band_medians(size, band)[band[index]]  # [K]
        bound = torch.maximum(limit, before[index].norm(dim=1))  # [K]
        over = size[index] > bound
        held = proposed * (bound / size[index].clamp_min(1e-30))[:, None]
        permitted = torch.where(over[:, None], held, proposed)
        rows = torch.where(over[:, None], held - before[index], delta.rows)
        after = {"way": before.index_copy(0, index, permitted)}
        longest = float(size.max()) if len(size) else 0.0
        figures = {"row_trust.clipped": share(over) if len(over) else 0.0, "row_trust.longest": longest}
        return replace(delta, rows=rows), after, figures


def bands(popularity: Tensor, number: int) -> Tensor:
    """Equal bands by rank, 0 the least popular: int64 [N]; fewer where a band would have under 16 rows."""
    size = len(popularity)
    number = max(1, min(number, size // BAND))
    rank = torch.empty(size, dtype=torch.int64, device=popularity.device)
    rank[torch.argsort(popularity, stable=True)] = torch.arange(size, device=popularity.device)
    return rank * number // max(size, 1)


def band_medians(size: Tensor, band: Tensor) -> Tensor:
    """The median of the positive ``size`` [N] in each band; ∞ where none is."""
    medians = torch.full((int(band.max()) + 1,), torch.inf, device=size.device)
    for number in range(len(medians)):
        moving = size[(band == number) & (size > 0)]
        if len(moving):
            medians[number] = quantile(moving, 0.5)
    return medians
