"""How far an item row may go along the direction that every user likes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.checks import count, positive, unit
from common.tasks import GlobalModel
from server.constraints.base import Evidence, Outcome, at_shares, share
from server.optimizers import ParameterUpdate, State


@dataclass(frozen=True)
class PopularityCap:
    """e_i·û ≤ the quantile of e_j·û that fits the item's rank by popularity + margin, ``top`` at most.

    û is the mean direction of ``probes`` made-up users at the position that is recommended from, under the
    model after the step (common/probes.py). Who promotes a cold item to everyone must raise e_i·û, whatever
    the way there: by the row, by the encoder, or by what follows the last position alone. Ranks are of the
    server's own estimate, equal ones share the highest. A row above its cap loses the share ``pull`` of its
    excess each time it is trained: who turns the encoder towards a row lifts it without touching it.
    """

    top: float = 0.98
    margin: float = 0.01
    pull: float = 0.1
    probes: int = 256

    def __post_init__(self) -> None:
        unit(margin=self.margin, pull=self.pull)
        positive(top=self.top)
        if self.top > 1:
            raise ValueError(f"top must lie in (0, 1], given {self.top}")
        count(1, probes=self.probes)

    def init(self, start: GlobalModel) -> State:
        return {}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        mean = evidence.users(delta, self.probes, 0.0).states.mean(0)  # [d]
        length = float(mean.norm())
        if length == 0 or not len(delta.rows):
            return delta, state, {"popularity_cap.clipped": 0.0}
        user = mean / length  # û [d]
        index = delta.items.long()
        old = model.table[index] @ user  # [K]
        table = model.table[1:] @ user  # [N]
        new = old + delta.rows @ user  # [K]
        table = table.index_copy(0, index - 1, new).double()
        place = (ranks(evidence.popularity)[index - 1] + self.margin).clamp(max=self.top)  # [K]
        cap = at_shares(table.sort().values, place).float()  # [K]
        held = torch.maximum(cap, old - self.pull * (old - cap))  # [K]
        excess = (new - held).clamp(min=0)  # [K]
        rows = torch.where(excess[:, None] > 0, delta.rows - excess[:, None] * user, delta.rows)
        return replace(delta, rows=rows), state, {"popularity_cap.clipped": share(excess > 0)}


def ranks(popularity: Tensor) -> Tensor:
    """The share of items that are no more popular: float64 [N] in (0, 1]."""
    ordered = popularity.sort().values
    return torch.searchsorted(ordered, popularity, right=True).double() / len(popularity)
