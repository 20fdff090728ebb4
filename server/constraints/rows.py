"""Constraints on item rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from common.checks import positive
from common.tasks import GlobalModel
from server.constraints.base import Evidence, Outcome, quantile, share
from server.optimizers import ParameterUpdate, State


@dataclass(frozen=True)
class RowNormCap:
    """‖e_i + δ_i‖ ≤ max(‖e_i‖, factor · quantile of ‖e_j‖ over the table): no row outgrows the table.

    A row already above the cap may turn and shrink but not grow. An all-zero table has no cap yet.
    """

    quantile: float = 0.995
    factor: float = 1.25

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ValueError(f"quantile must lie in (0, 1], given {self.quantile}")
        positive(factor=self.factor)

    def init(self, start: GlobalModel) -> State:
        return {}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        cap = self.factor * quantile(model.table[1:].norm(dim=1), self.quantile)
        if cap == 0 or not len(delta.rows):
            return delta, state, {"row_norm_cap.clipped": 0.0, "row_norm_cap.cap": cap}
        old = model.table[delta.items.long()]  # [K, d]
        new = old + delta.rows
        size, bound = new.norm(dim=1), old.norm(dim=1).clamp_min(cap)  # [K]
        over = size > bound
        shrunk = new * (bound / size)[:, None] - old
        rows = torch.where(over[:, None], shrunk, delta.rows)
        figures = {"row_norm_cap.clipped": share(over), "row_norm_cap.cap": cap}
        return replace(delta, rows=rows), state, figures


@dataclass(frozen=True)
class RowDrift:
    """‖δ_i‖ ≤ factor · median ‖δ_j‖ over the rows of this round that move at all."""

    factor: float = 5.0

    def __post_init__(self) -> None:
        positive(factor=self.factor)

    def init(self, start: GlobalModel) -> State:
        return {}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        size = delta.rows.norm(dim=1)  # [K]
        moving = size[size > 0]
        if not len(moving):
            return delta, state, {"row_drift.clipped": 0.0, "row_drift.bound": 0.0}
        bound = self.factor * quantile(moving, 0.5)
        over = size > bound
        rows = torch.where(over[:, None], delta.rows * (bound / size)[:, None], delta.rows)
        figures = {"row_drift.clipped": share(over), "row_drift.bound": bound}
        return replace(delta, rows=rows), state, figures
