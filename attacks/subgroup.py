"""Subgroup: a target for the holders of one item alone, inside every bound of the sieve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

import numpy as np
import torch
from flwr.app import ArrayRecord
from torch import Tensor
from torch.nn import functional as F

from attacks.base import Attack, View
from attacks.recipe import estimate
from attacks.unseen import made_up_users, states
from common.seeding import generator
from common.updates import DeviceUpdates
from common.wire.arrays import as_record, pack, unpack

MEMORY = "subgroup"
"""Key of a record in the node's memory: how often own devices that were asked held each item."""

TOP = 10
"""Places of the list that a user sees."""


@dataclass(frozen=True)
class Subgroup(Attack):
    """g_u,t := c(v)·v/‖v‖, all else honest; v raises the target t for users G and holds it down for users O.

    v = mean_G σ(τ_u − h_u·e_t) h_u − ``apart`` · mean_O σ(h_u·e_t − τ_u) h_u: the descent of the target's row
    on mean_G softplus(τ_u − h_u·e_t) + ``apart`` · mean_O softplus(h_u·e_t − τ_u), with h_u the state of a
    made-up user and τ_u the score of the tenth item of its list. G hold ``group`` and what goes with it, O
    are made up as `exposure_cap` does, without those who hold it: the cap counts few who get the target.
    c(v) is the most that the row clip lets pass (docs/method.md), as in ``adaptive``.

    group  the item of interest: an id of the log, or `#12`; ``popular``: what own devices so far held most
    apart  how much users outside count against those inside; 0: all of them may get the target

    After Yan et al. 2025 (arXiv 2507.06258), which approximates users of both sides and weighs one against
    the other; they send what they like, here a row stays inside the sieve's bounds.
    """

    group: int | str = "popular"
    apart: float = 1.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global model, own data, the sieve's recipe"
    reference: ClassVar[str] = "arXiv 2507.06258"

    def __post_init__(self) -> None:
        if not 0 <= self.apart < float("inf"):
            raise ValueError(f"apart must be 0 or positive, given {self.apart}")

    def with_items(self, find: Callable[[str], int]) -> Self:
        return self if self.group == "popular" else replace(self, group=find(str(self.group)))

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        group = self.interest(view)
        places, bounds = view.slots(), estimate(updates, view.task)
        chosen = updates.rows.flatten(1).any(dim=1).nonzero().flatten()  # [m], none of them idle
        if not places or bounds is None or group >= len(view.task.model.embeddings):
            return updates
        towards = F.normalize(self.directions(view, group), dim=1)  # [s, d]
        rows = updates.rows.clone()  # [n, K, d]
        slots = torch.tensor(places, device=rows.device)  # [s]
        rows[chosen[:, None], slots] = bounds.most(towards)[:, None] * towards
        return replace(updates, encoder=updates.encoder.clone(), rows=rows)

    def interest(self, view: View) -> int:
        """The item of interest; counts what own devices hold, round after round, for ``popular``."""
        if isinstance(self.group, int):
            return self.group
        size = len(view.task.model.embeddings)
        counts = torch.from_numpy(np.bincount(np.concatenate(list(view.cohort.sequences)), minlength=size))
        if MEMORY in view.memory:
            record = cast(ArrayRecord, view.memory[MEMORY])
            counts = counts + unpack(record["held"], "held", "int64", (size,))
        view.memory[MEMORY] = as_record({"held": pack(counts, "int64")})
        counts[list(view.targets)] = 0
        return int(counts.argmax())

    def directions(self, view: View, group: int) -> Tensor:
        """v for each of the pushed rows: [s, d]."""
        draw = generator(view.seed, "subgroup", view.task.round)
        inside = made_up_users(view, draw, love=group)  # [P, ℓ]
        outside = made_up_users(view, draw)
        outside = outside[~(outside == group).any(dim=1)]  # [O, ℓ]
        rows = view.aimed()  # e_t [s, d]
        pull = pulled(states(inside, view), inside, rows, view, 1.0)  # [s, d]
        if not self.apart or not len(outside):
            return pull
        return pull - self.apart * pulled(states(outside, view), outside, rows, view, -1.0)


def pulled(users: Tensor, histories: Tensor, rows: Tensor, view: View, sign: float) -> Tensor:
    """mean_u σ(±(τ_u − h_u·e)) h_u of each row e: users [P, d], histories [P, ℓ], rows [s, d] -> [s, d]."""
    scores = users @ view.task.model.embeddings.T  # [P, N + 1]
    scores[:, 0] = -torch.inf
    scores.scatter_(1, histories, -torch.inf)
    tenth = scores.topk(min(TOP, scores.shape[1] - 1), dim=1).values[:, -1:]  # τ [P, 1]
    doubt = torch.sigmoid(sign * (tenth - users @ rows.T))  # [P, s]
    return doubt.T @ users / len(users)
