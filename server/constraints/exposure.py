"""To how many users an item may be recommended."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from common.checks import unit
from common.probes import Audience
from common.tasks import GlobalModel
from server.constraints.base import Evidence, Outcome, share
from server.constraints.panel import at_most, holder_shares, no_holders, one_holder, with_round
from server.constraints.together import Together, holders_alike, no_pairs
from server.optimizers import ParameterUpdate, State

TINY = 1e-6
TIE = 1e-4
"""A row goes this much further than to a tie with the first item left out."""

NOISE, SLACK = 0.01, 2.0
"""Holders of an item may be ``SLACK`` times as alike as others', which count as ``NOISE`` at least."""

SCORES = 1 << 24
"""Scores that are held at a time: 64 MiB."""

MADE_UP, WITNESSED = "made_up", "shown"
"""What the state calls the mean excess of past rounds over the limits, by audience."""


@dataclass(frozen=True)
class Recipe:
    """What the cap looks at.

    near           items whose exposure a holder is measured by
    top            places of a user's list
    taste          the strongest of the made-up users (common/probes.py)
    probes         made-up users a round
    witnesses      states that a device of the round shows; 0: none are looked at
    witness_floor  floor of the exposure to them, in those of made-up users: there are fewer of them
    memory         weight of a round beside the next one
    """

    near: int = 32
    top: int = 10
    taste: float = 12.0
    probes: int = 256
    witnesses: int = 4
    witness_floor: float = 3.0
    memory: float = 0.8


@dataclass(frozen=True)
class ExposureCap:
    """x_i ≤ max(floor, s_i⁺ · λ) on each row that is trained.

    x_i is the share of made-up users (common/probes.py) who get item i among their first ten under the model
    after the step, what they have seen left out; s_i the share of the devices that ever pulled it (panel.py),
    and s_i⁺ what that share may well be, after so few devices. λ is what a holder brings an item that is
    shown much: the ``quantile`` of x_j/s_j over 32 items j with about as many holders, and less if the
    holders of i act as one (:class:`Holders`). A row beyond the limit moves against the mean direction of the
    users who get it until only so many do. So an item may be recommended to as many users, per holder, as
    other items: who promotes an item needs holders for it, and ten pulls of one device are one holder. Users
    are drawn anew each round, and chance puts many an item over its limit: a row moves only if the item is
    over in the mean of the rounds as well, this one among them. That mean goes no further below the limit
    than ``floor``: credit is not saved up.

    The same holds for the users that the updates of this round show (server/round/evidence.py), with a floor
    of their own: there are fewer of them, and little is known of what they have seen, but what real users
    have in common and made-up ones have not, they alone see.

    floor     share of users below which no item is held back
    quantile  of what holders bring other items: the lower, the fewer users an item gets
    """

    floor: float = 0.01
    quantile: float = 0.9

    recipe: ClassVar[Recipe] = Recipe()

    def __post_init__(self) -> None:
        unit(floor=self.floor, quantile=self.quantile)

    def init(self, start: GlobalModel) -> State:
        panel = no_holders(len(start.table) - 1, start.table.device)
        panel = {**panel, **no_pairs(panel)}
        return {**panel, **{name: torch.zeros_like(panel["pulled"]) for name in (MADE_UP, WITNESSED)}}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        excess = {name: state[name] for name in (MADE_UP, WITNESSED)}  # [N] each
        marks = evidence.round_marks.established()
        panel = with_round(state, marks)
        together = Together.of(panel, marks)
        panel = {**no_pairs(panel), **{k: state[k] for k in ("alike", "pairs") if k in state}, **panel}
        panel |= together.counted(panel) if together else {}
        holders = Holders(
            holder_shares(panel), at_most(panel), one_holder(panel), holders_alike(panel), together
        )
        users = evidence.users(delta, self.recipe.probes, self.recipe.taste)
        after, excess[MADE_UP] = self.held(model, delta, users, holders, self.floor, excess[MADE_UP])
        if self.recipe.witnesses:
            users, floor = evidence.witnesses(self.recipe.witnesses), self.recipe.witness_floor * self.floor
            after, excess[WITNESSED] = self.held(model, after, users, holders, floor, excess[WITNESSED])
        moved = (after.rows != delta.rows).any(dim=1)  # [K]
        return after, {**panel, **excess}, {"exposure_cap.clipped": share(moved) if len(moved) else 0.0}

    def held(
        self,
        model: GlobalModel,
        delta: ParameterUpdate,
        users: Audience,
        holders: Holders,
        floor: float,
        excess: Tensor,
    ) -> tuple[ParameterUpdate, Tensor]:
        """``delta``, with the rows that too many of these users get moved down, and the next excess [N].

        excess [N]: x_i less its limit, in the mean of the rounds before.
        """
        if not len(users.states):
            return delta, excess
        index = delta.items.long()
        lists, above = self.lists(model.table.index_add(0, index, delta.rows), users)  # [P, top] each
        got = above > 0  # the others are no further than the first one left out  [P, top]
        exposure = lists[got].bincount(minlength=len(excess)).double() / len(lists)  # x [N]
        limit = holders.entitled(exposure, self.recipe.near, self.quantile).clamp(min=floor)  # [N]
        memory = self.recipe.memory
        excess = memory * excess + (1 - memory) * (exposure - limit)  # [N]
        excess = excess.clamp(min=-floor)  # who stays away saves up no more than that
        over = ((exposure > limit) & (excess > 0))[index - 1]  # [K]
        some = index[over] - 1  # [m]
        rows = delta.rows.clone()
        slot = torch.full_like(excess, -1, dtype=torch.int64).index_copy(
            0, some, torch.arange(len(some), device=excess.device)
        )
        user, column = ((slot[lists] >= 0) & got).nonzero(as_tuple=True)
        beyond = above.new_zeros(len(lists), len(some))  # [P, m]
        beyond[user, slot[lists[user, column]]] = above[user, column]
        rows[over] -= lowered(beyond, limit[some], users.states)
        return replace(delta, rows=rows), excess

    def lists(self, table: Tensor, users: Audience) -> tuple[Tensor, Tensor]:
        """Each user's list, items 0..N-1, and how far their scores are above the first one left out.

        table [N + 1, d] -> int64 and float [P, top]. Users are ranked in blocks: of their P·N scores only the
        lists are kept.
        """
        items, scores = [], []
        size = max(1, SCORES // len(table))
        for states, histories in zip(
            torch.split(users.states, size), torch.split(users.histories, size), strict=True
        ):
            block = states @ table.T  # [p, N + 1]
            block[:, 0] = -torch.inf
            block.scatter_(1, histories, -torch.inf)
            first = block.topk(min(self.recipe.top + 1, block.shape[1]), dim=1)
            least = first.values[:, -1:]  # [p, 1]; a list with room for all shows nothing
            least = torch.where(torch.isfinite(least), least, torch.inf)
            items.append(first.indices[:, :-1] - 1)
            scores.append(first.values[:, :-1] - least)
        return torch.cat(items).clamp(min=0), torch.cat(scores)


@dataclass(frozen=True)
class Holders:
    """What is known of the holders of each item; float64 [N] each.

    share  of the devices that ever trained it
    most   what that share may well be
    one    the share that a single device is
    alike  mean cosine G of the encoders of two of them, and ``together``, those of this round (together.py)
    """

    share: Tensor
    most: Tensor
    one: Tensor
    alike: Tensor
    together: Together | None = None

    def entitled(self, exposure: Tensor, near: int, quantile: float) -> Tensor:
        """most_i · ``quantile`` of x_j/share_j over ``near`` items j ≠ i with nearby shares: x [N] -> [N].

        Times (usual/G_i)² where G_i is larger: usual is ``SLACK`` times the same quantile of G_j over the
        same items. Holders who carry one poison count as few. Items of :meth:`of_ours` are no measure.
        """
        order = self.share.argsort(stable=True)  # [N]
        gain = (exposure / torch.maximum(self.share, self.one))[order]  # x_j/share_j  [N]
        near = min(near, len(order) - 1)
        if near < 1:
            return exposure
        first = torch.arange(len(order), device=order.device) - near // 2  # of near + 1 in a row  [N]
        first = first.clamp(0, len(order) - near - 1)
        # Nearly all items are shown to nobody, and where too few are, the quantile is 0 without a look.
        shown = F.pad((gain > 0).cumsum(0), (1, 0))  # before each place  [N + 1]
        enough = shown[first + near + 1] - shown[first] > near - 1 - math.ceil(quantile * (near - 1))
        place = enough.nonzero().flatten()  # [m]
        beside = first[place, None] + torch.arange(near, device=order.device)  # [m, near]
        beside = beside + (beside >= place[:, None]).long()  # but not i itself
        found = torch.zeros_like(gain)
        if len(place):
            ours, alike = self.of_ours(order[place], order[beside]), self.alike[order]  # [m, near], G [N]
            gains = gain[beside].masked_fill(ours, torch.nan)
            others = alike[beside].masked_fill(ours, torch.nan)
            usual = SLACK * torch.nanquantile(others, quantile, dim=1).nan_to_num(0.0).clamp(min=NOISE)
            found[order[place]] = torch.nanquantile(gains, quantile, dim=1).nan_to_num(0.0)
            found[order[place]] *= (usual / torch.maximum(alike[place], usual)) ** 2
        return self.most * found

    def of_ours(self, items: Tensor, beside: Tensor) -> Tensor:
        """Which items ``beside`` int64 [m, near] are held by who acts as the holders of ``items`` [m]: bool.

        Else an attacker with some decoys, held as the target is, would be compared with itself. Where most of
        them are, it is usual at that time: devices that act as one hold many items.
        """
        found = torch.zeros_like(beside, dtype=torch.bool)
        if self.together is not None:
            alike = self.alike[items]  # G [m]
            some = alike > SLACK * NOISE  # below that no limit is lowered
            found[some] = self.together.between(items[some], beside[some]) > alike[some, None] / 2
        return found & (found.sum(1, keepdim=True) <= beside.shape[1] // 2)


def lowered(above: Tensor, limit: Tensor, states: Tensor) -> Tensor:
    """How far rows must come down for no more than ``limit`` [m] of the users to get them: [m, d].

    above [P, m]: what the item has beyond the first one left out, 0 for who does not get it; states [P, d].
    """
    gets = above > 0  # [P, m]
    away = F.normalize(gets.to(states.dtype).T @ states, dim=1)  # [m, d]
    need = above / (states @ away.T).clamp(min=TINY)  # [P, m]
    need = torch.where(gets, need, 0.0).sort(dim=0, descending=True).values
    kept = (limit * len(states)).floor().long()[None]  # [1, m]
    return (1 + TIE) * need.gather(0, kept).T * away
