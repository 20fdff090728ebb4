"""How far the item table may collapse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.checks import unit
from common.tasks import GlobalModel
from server.constraints.base import Evidence, Outcome
from server.optimizers import ParameterUpdate, State


@dataclass(frozen=True)
class VarianceFloor:
    """V(E + δ) ≥ min(V(E), least · V_max), V = mean ‖e_i − ē‖², V_max the largest V so far.

    Against attacks that draw rows together (ClusterAttack, arXiv 2212.05399) until all items score alike.
    A step below the floor loses of its inward part δ_i·c_i < 0, c_i = e_i − ē, as much as is needed; if
    all of it is not enough, the rest shrinks too. Steps that leave V above the floor pass untouched.
    """

    least: float = 0.7

    def __post_init__(self) -> None:
        unit(least=self.least)

    def init(self, start: GlobalModel) -> State:
        return {"peak": variance(start.table[1:].double())}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        before = model.table[1:].double()  # [N, d]
        index = delta.items.long() - 1
        step = torch.zeros_like(before).index_copy(0, index, delta.rows.double())
        goal = min(float(variance(before)), self.least * float(state["peak"]))
        rows, scale = delta.rows, 1.0
        if float(variance(before + step)) < goal:
            inward = self.inward(before, step)
            rest = step - inward
            scale = largest(before + rest, inward, goal)
            whole = rest + scale * inward
            if scale == 0.0:
                whole = largest(before, rest, goal) * rest
            rows = whole[index].to(delta.rows.dtype)
            step = whole
        after = variance(before + step)
        figures = {"variance_floor.variance": float(after), "variance_floor.inward": scale}
        return replace(delta, rows=rows), {"peak": torch.maximum(state["peak"], after)}, figures

    @staticmethod
    def inward(table: Tensor, step: Tensor) -> Tensor:
        """The part of each row's step that points to the mean row: [N, d]."""
        centred = table - table.mean(0)
        outward = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-30)
        along: Tensor = (step * outward).sum(1).clamp(max=0)  # [N]
        inward: Tensor = along[:, None] * outward
        return inward


def variance(table: Tensor) -> Tensor:
    """mean_i ‖e_i − ē‖² of float64 [N, d]: 0-d."""
    return (table - table.mean(0)).square().sum(1).mean()


def largest(base: Tensor, move: Tensor, goal: float) -> float:
    """The largest s in [0, 1] found by bisection with V(base + s·move) ≥ goal; 0 if base itself is below.

    V is convex in s and base lies above the goal, so there is one crossing; the lower end is returned.
    """
    start, slope, bend = quadratic(base, move)

    def reaches(s: float) -> bool:
        return start + s * slope + s * s * bend >= goal

    if not reaches(0.0):
        return 0.0
    if reaches(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return low


def quadratic(base: Tensor, move: Tensor) -> tuple[float, float, float]:
    """(a, b, c) with V(base + s·move) = a + b·s + c·s²."""
    x, y = base - base.mean(0), move - move.mean(0)
    return float(x.square().sum(1).mean()), float(2 * (x * y).sum(1).mean()), float(y.square().sum(1).mean())
