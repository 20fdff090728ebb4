"""UNION: leave out the devices whose step would draw the item table together, or apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from common.checks import count, one_of
from common.errors import RunError
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum
from server.aggregators.split import two_groups, upper


@dataclass(frozen=True)
class Union(Aggregator):
    """Mean of the devices in the larger of two groups of uniformity U_u, if there are two groups.

    U_u = 1/(m(m − 1)) Σ_{i≠j} ‖e_i − e_j‖ over m = min(K, ``sample``) rows of the slice after the server
    step on u's update alone: what the table would become. The U_u, scaled to [0, 1], are split by 2-means;
    the smaller group is left out if the gap statistic finds two groups or it has no more than f members
    (``filter: gap`` takes the first reason only; equal groups stay). With ``negatives: device`` a row that u
    did not touch stays for it, up to the momentum of the server step. Its part on the devices, a pull of
    the table towards uniformity, is ``client.regularisers: uniformity``. Complexity O(n·m²·d), and n server
    steps. Breakdown point 1/2 against devices that all move the uniformity; 0 against one that moves rows
    and keeps it. Reference: arXiv 2212.05399.
    """

    name: ClassVar[str] = "union"
    family: ClassVar[str] = "recommendation"
    sliced: ClassVar[bool] = False
    sample: int = 500
    filter: Literal["either", "gap"] = "either"

    def __post_init__(self) -> None:
        count(2, sample=self.sample)
        one_of(filter=(self.filter, ("either", "gap")))

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), round_.byzantine)
        spread = self.uniformities(updates, round_)  # [n]
        high = upper(spread)
        above = int(high.sum())
        out, size = (high, above) if 2 * above < n else (~high, n - above)  # the smaller group
        few = self.filter == "either" and size <= round_.byzantine
        if 2 * size == n or not (two_groups(spread, round_.generator) or few):
            out = torch.zeros_like(out)
        weights = (~out).double() / (~out).sum()
        figures = {"union.left_out": float(out.double().mean()), "union.uniformity": float(spread.mean())}
        encoder, rows = weighted_sum(updates, weights.float())
        return Aggregate(encoder, rows, weights.float(), figures), state

    def uniformities(self, updates: DeviceUpdates, round_: Round) -> Tensor:
        """U_u of every device, float64 [n]."""
        model: GlobalModel = round_.given(self.name, "model")
        items = updates.items.long()
        if len(items) and (most := int(items.max())) >= len(model.table):
            raise RunError(f"{self.name}: item {most} of {len(model.table) - 1}")
        start = model.table[items]  # [K, d]
        chosen = torch.arange(len(items), device=items.device)
        if len(items) > self.sample:
            drawn = torch.randperm(len(items), generator=round_.generator)[: self.sample]
            chosen = drawn.sort().values.to(items.device)
        step = round_.step or (lambda rows: rows)
        return torch.stack([uniformity((start + step(rows))[chosen]) for rows in updates.rows])


def uniformity(rows: Tensor) -> Tensor:
    """The mean distance of two different rows of [m, d], float64; 0 for fewer than two."""
    m = len(rows)
    if m < 2:
        return rows.new_zeros((), dtype=torch.float64)
    wide = rows.double()
    wide = wide - wide.mean(dim=0)
    square = wide.square().sum(dim=1)
    away = torch.addmm(square[:, None] + square, wide, wide.T, alpha=-2)  # [m, m]
    return away.fill_diagonal_(0).clamp_min_(0).sqrt_().sum() / (m * (m - 1))
