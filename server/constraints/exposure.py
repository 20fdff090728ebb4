"""To how many users an item may be recommended."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from common.probes import MadeUp
from common.tasks import GlobalModel
from server.checks import count, positive, unit
from server.constraints.base import Evidence, Outcome, share
from server.constraints.popularity import ranks
from server.optimizers import ParameterUpdate, State
from server.panel import holders, met

TINY = 1e-6
TIE = 1e-4
"""A row goes this much further than to a tie with the first item left out."""


@dataclass(frozen=True)
class ExposureCap:
    """x_i ≤ max(floor, slack · Q_{r_i}(x)) on each row that is trained.

    x_i is the share of ``probes`` made-up users (common/probes.py) who get item i among their ``top`` under
    the model after the step, what they have seen left out; Q_q(x) its quantile over the catalogue, and r_i
    the rank of i by the devices that ever pulled it (server/panel.py), equal ones share the highest. A row
    beyond it moves against the mean direction of the users who get it until only so many do. So an item may
    be recommended to as many users as others that as many devices hold: who promotes an item needs holders
    for it, and ten pulls of one device are one holder. ``floor`` leaves alone what few users get.
    """

    floor: float = 0.01
    slack: float = 1.5
    top: int = 10
    taste: float = 8.0
    probes: int = 256

    def __post_init__(self) -> None:
        unit(floor=self.floor)
        positive(slack=self.slack)
        if not 0 <= self.taste < float("inf"):
            raise ValueError(f"taste must be 0 or positive, given {self.taste}")
        count(1, top=self.top, probes=self.probes)

    def init(self, start: GlobalModel) -> State:
        return {}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        state = met(state, evidence.seen, len(evidence.popularity))
        index = delta.items.long()
        users = evidence.users(delta, self.probes, self.taste)
        above = self.above(model.table.index_add(0, index, delta.rows), users)  # [P, N]
        exposure = (above > 0).double().mean(0)  # x [N]
        place = ranks(holders(state))  # r [N]
        limit = (self.slack * torch.quantile(exposure, place)).clamp(min=self.floor)  # [N]
        over = (exposure > limit)[index - 1]  # [K]
        if not bool(over.any()):
            return delta, state, {"exposure_cap.clipped": 0.0}
        rows = delta.rows.clone()
        some = index[over] - 1
        rows[over] -= lowered(above[:, some], limit[some], users.states)
        return replace(delta, rows=rows), state, {"exposure_cap.clipped": share(over)}

    def above(self, table: Tensor, users: MadeUp) -> Tensor:
        """Score of each item less that of the first one left out of the list: [N + 1, d] -> [P, N]."""
        scores = users.states @ table.T  # [P, N + 1]
        scores[:, 0] = -torch.inf
        scores.scatter_(1, users.histories, -torch.inf)
        least = scores.topk(min(self.top + 1, scores.shape[1]), dim=1).values[:, -1:]  # [P, 1]
        if not torch.isfinite(least).all():  # a list with room for all shows nothing
            least = torch.where(torch.isfinite(least), least, torch.inf)
        return scores[:, 1:] - least


def lowered(above: Tensor, limit: Tensor, states: Tensor) -> Tensor:
    """How far rows must come down for no more than ``limit`` [m] of the users to get them: [m, d].

    above [P, m]: what the item has beyond the first one left out, positive for who gets it; states [P, d].
    """
    gets = above > 0  # [P, m]
    away = F.normalize(gets.to(states.dtype).T @ states, dim=1)  # [m, d]
    need = above / (states @ away.T).clamp(min=TINY)  # [P, m]
    need = torch.where(gets, need, 0.0).sort(dim=0, descending=True).values
    kept = (limit * len(states)).floor().long()[None]  # [1, m]
    return (1 + TIE) * need.gather(0, kept).T * away
