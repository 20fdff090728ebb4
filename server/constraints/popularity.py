"""How far an item row may go along the direction that every user likes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.tasks import GlobalModel
from server.aggregators.stages import interaction_size
from server.checks import positive, unit
from server.constraints.base import Evidence, Outcome, share
from server.optimizers import ParameterUpdate, State


@dataclass(frozen=True)
class PopularityCap:
    """e_i·û ≤ the quantile of e_j·û that fits the item's rank by popularity + margin, ``top`` at most.

    û is the mean user direction: honest negatives are pushed against the user's state, so
    −û ∝ EMA_decay Σ_u Σ_i g_ui over the weak row updates ‖g_ui‖ < weak·c (c the size of one interaction).
    Who promotes a cold item to everyone must raise e_i·û, whatever the way there. Ranks are of the
    server's own estimate, equal ones share the highest. A row above its cap loses the share ``pull`` of its
    excess each time it is trained: who turns the encoder towards a row lifts it without touching it.
    """

    top: float = 0.98
    margin: float = 0.01
    weak: float = 0.1
    decay: float = 0.8
    pull: float = 0.1

    def __post_init__(self) -> None:
        unit(margin=self.margin, decay=self.decay, pull=self.pull)
        positive(top=self.top, weak=self.weak)
        if self.top > 1:
            raise ValueError(f"top must lie in (0, 1], given {self.top}")

    def init(self, start: GlobalModel) -> State:
        return {"push": torch.zeros(start.table.shape[1], dtype=torch.float64)}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        push = self.decay * state["push"] + (1 - self.decay) * self.weak_sum(evidence)  # [d]
        length = float(push.norm())
        if length == 0 or not len(delta.rows):
            return delta, {"push": push}, {"popularity_cap.clipped": 0.0}
        user = (-push / length).float()  # û [d]
        index = delta.items.long()
        old = model.table[index] @ user  # [K]
        table = model.table[1:] @ user  # [N]
        new = old + delta.rows @ user  # [K]
        table = table.index_copy(0, index - 1, new).double()
        place = (ranks(evidence.popularity)[index - 1] + self.margin).clamp(max=self.top)  # [K]
        cap = torch.quantile(table, place).float()  # [K]
        held = torch.maximum(cap, old - self.pull * (old - cap))  # [K]
        excess = (new - held).clamp(min=0)  # [K]
        rows = torch.where(excess[:, None] > 0, delta.rows - excess[:, None] * user, delta.rows)
        return replace(delta, rows=rows), {"push": push}, {"popularity_cap.clipped": share(excess > 0)}

    def weak_sum(self, evidence: Evidence) -> Tensor:
        """Σ_u Σ_i g_ui over the weak row updates: float64 [d]."""
        rows = evidence.updates.rows  # [n, K, d]
        norms = rows.norm(dim=2)  # [n, K]
        weak = (norms < self.weak * interaction_size(norms)).to(rows.dtype)
        return torch.einsum("nkd,nk->d", rows, weak).double()


def ranks(popularity: Tensor) -> Tensor:
    """The share of items that are no more popular: float64 [N] in (0, 1]."""
    ordered = popularity.sort().values
    return torch.searchsorted(ordered, popularity, right=True).double() / len(popularity)
