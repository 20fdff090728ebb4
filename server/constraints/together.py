"""Do the holders of an item act by themselves?

The limit of an item grows with its holders (exposure.py), and an attacker brings them: its devices hold what
it promotes. People who hold one item learn different things beyond what all learn; devices that carry one
poison do not. The mean over all pairs and rounds shows what is too little to show in a single device
(server/aggregators/reputation.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from server.aggregators.base import State
from server.aggregators.memory import places, signed
from server.constraints.panel import PULLED, RoundMarks

PAIRS = 500.0
"""Pairs of holders whose encoders have nothing in common that every item starts with."""

FADES = 0.95
"""Weight of a round beside the next one with a pair of holders: twenty rounds count."""

FEW = 20.0
"""The same as ``PAIRS`` for the holders of two items in one round."""


@dataclass(frozen=True)
class Together:
    """Who of one round holds what, by all that is known of it, and how alike they are.

    column      int64 [N]: the place of an item among the k that two of them hold; -1: fewer do
    holds       float [n, k]: 1 where a device holds the item
    to_holders  [n, k]: Σ of the cosines of a device's encoder and those of the item's other holders
    """

    column: Tensor
    holds: Tensor
    to_holders: Tensor

    @staticmethod
    def of(panel: State, marks: RoundMarks) -> Together | None:
        """Of the panel after the round, which knows what they held before. None: nobody compared them."""
        marks = marks.established()
        if marks.alike is None:
            return None
        cosines, index = marks.alike, marks.items.long() - 1  # [n, n], [K]
        at, met = places(panel["identity"].cpu(), signed(marks.identity))
        where = marks.marks.device
        known = panel["history"].to(where)[at[met].to(where)] == PULLED  # [m, N]
        new = (~met).nonzero().flatten().to(where)  # those that the panel has no room for
        shown = marks.marks[new] == PULLED  # [n - m, K]
        count = known.sum(0).index_add(0, index, shown.sum(0))  # [N]
        several = count > 1  # most items of a sparse log have no pair  [N]
        column = torch.where(several, several.cumsum(0) - 1, -1)  # [N]
        holds = cosines.new_zeros(len(met), int(several.sum()))  # [n, k]
        holds[met.to(where)] = known[:, several].to(cosines)
        among = column[index]  # [K]
        holds[new[:, None], among[among >= 0]] = shown[:, among >= 0].to(cosines)
        return Together.among(column, holds, cosines)

    @staticmethod
    def among(column: Tensor, holds: Tensor, cosines: Tensor) -> Together:
        """With ``cosines`` [n, n] of the encoders, 0 of one with itself."""
        return Together(column, holds, cosines @ holds)

    def counted(self, panel: State) -> State:
        """alike, pairs float64 [N]: Σ of the cosines of all pairs of holders in a round, and how many; faded.

        n²·k products. A round without a pair of holders changes nothing.
        """
        none = torch.zeros_like(panel["pulled"])  # the state of an earlier version knows no pairs
        alike, pairs = panel.get("alike", none), panel.get("pairs", none)  # [N] each
        some = (self.column >= 0).nonzero().flatten()  # [k]
        count = self.holds.sum(0).double()  # [k]
        sums = (self.to_holders * self.holds).sum(0).double()  # [k]
        return {
            "alike": alike.index_copy(0, some, FADES * alike[some] + sums),
            "pairs": pairs.index_copy(0, some, FADES * pairs[some] + count * (count - 1)),
        }

    def between(self, items: Tensor, others: Tensor) -> Tensor:
        """Mean cosine of a holder of ``items`` int64 [m] and one of ``others`` [m, p]: float64 [m, p].

        Of this round alone, beside ``FEW`` pairs with nothing in common.
        """
        column, theirs = self.column[items], self.column[others]  # [m], [m, p]
        if not self.holds.shape[1]:
            return torch.zeros_like(theirs, dtype=torch.float64)
        ours = self.holds[:, column.clamp(min=0)] * (column >= 0)  # [n, m]
        at = theirs.clamp(min=0)
        both = (ours.T @ self.holds).gather(1, at)  # a device that holds both is no pair  [m, p]
        pairs = ours.sum(0)[:, None] * self.holds.sum(0)[at] - both  # [m, p]
        sums = (ours.T @ self.to_holders).gather(1, at)  # [m, p]
        return (sums / (pairs + FEW)).masked_fill(theirs < 0, 0.0).double()


def no_pairs(panel: State) -> State:
    """Before the first round."""
    return {name: torch.zeros_like(panel["pulled"]) for name in ("alike", "pairs")}


def holders_alike(panel: State) -> Tensor:
    """G_i, the mean cosine of the encoders of two holders of item i that answer together: float64 [N]."""
    return panel["alike"] / (panel["pairs"] + PAIRS)
