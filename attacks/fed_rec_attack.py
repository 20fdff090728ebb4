"""FedRecAttack: model the benign users after public interactions, and promote the target to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import Attack, View
from attacks.pushing import TINY, interaction_size
from attacks.users import best_items, fit_users
from common.checks import count, positive
from common.device import add_rows
from common.seeding import generator
from common.updates import DeviceUpdates

EPS = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class FedRecAttack(Attack):
    """L = Σ_u Σ_{t∉V_u} g(u·e_{i*} − u·e_t), g(x) = x for x ≥ 0, eˣ − 1 below; rows get −∇L in shares.

    Rong et al. 2022 (arXiv 2204.01499). V_u: the public interactions of user u, a share ``xi`` of its
    history that is drawn once for all rounds. The attacker knows those of its own devices of the round (of
    5 % of the devices, .2 of what they have is the paper's 1 % of the data). u is fitted to V_u by ``steps``
    of BPR on the global table; i* is the last of the user's ``top`` best items, the target aside, so L pulls
    e_t up and e_{i*} down. The devices share out −∇L: one after the other uploads what remains of the
    target's row and of up to ``rows`` − 1 others, drawn with probability ∝ its norm, each cut at boost · c_u,
    c_u the size of one honest interaction. −∇L is scaled so that the target's row is used up by the last
    device; where it has nothing for that row (every user has the target, or none has public interactions)
    the updates are honest. A row not drawn, and the encoder, are honest; noise N(0, 1e-7), which no rule
    would notice, is left out. O(steps·M·d + m·N·d + n·K·d) for m users and M public interactions.
    """

    xi: float = 0.2
    steps: int = 100
    rate: float = 0.01
    top: int = 10
    rows: int = 60
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global model, a public share of the data (taken from own data)"
    reference: ClassVar[str] = "arXiv 2204.01499"

    def __post_init__(self) -> None:
        if not 0 < self.xi <= 1:
            raise ValueError(f"xi is {self.xi}; expected a share above 0, at most 1")
        count(1, top=self.top, rows=self.rows, steps=self.steps)
        positive(rate=self.rate, boost=self.boost)

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        slots = view.slots()
        liked = self.public(view) if slots else torch.empty(0, 0)
        if not len(liked):
            return updates
        users = fit_users(view.task.model.embeddings, liked, self.steps, self.rate, view.generator)  # [m, d]
        push = -view.task.model.onto_rows(self.gradient(users, liked, view))[updates.items.long()]  # [K, d]
        return self.share_out(push, updates, slots, view.generator)

    def public(self, view: View) -> Tensor:
        """Public interactions int64 [m, H] of those users who have any, filled up with 0."""
        drawn = []
        for sequence, device in zip(view.cohort.sequences, view.cohort.devices.tolist(), strict=True):
            items = torch.from_numpy(sequence.astype("int64"))
            # Of the device alone: drawn anew every round, all of its history would be public in the end.
            own = generator(view.seed, "fed_rec_attack", device)
            drawn.append(items[torch.rand(len(items), generator=own) < self.xi])
        found = [items for items in drawn if len(items)]
        if not found:
            return torch.empty(0, 0)
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True).to(view.task.model.embeddings.device)

    def gradient(self, users: Tensor, liked: Tensor, view: View) -> Tensor:
        """∇L of every item: [N + 1, d]."""
        table = view.task.model.embeddings
        without = torch.zeros(len(table), dtype=torch.bool, device=table.device)
        without[[0, *view.targets]] = True
        last = best_items(users, table, without, self.top)[:, -1]  # [m]; i*
        found = torch.zeros_like(table)
        for target in view.targets:
            free = (liked != target).all(1)  # [m]
            lead = (users * (table[last] - table[target])).sum(1)  # [m]
            slope = lead.clamp(max=0).exp() * free  # g′(x) is 1 above zero and eˣ below
            pull = slope[:, None] * users  # [m, d]
            found[target] -= pull.sum(0)
            add_rows(found, last, pull)
        return found

    def share_out(
        self, push: Tensor, updates: DeviceUpdates, slots: list[int], generator: torch.Generator
    ) -> DeviceUpdates:
        """Each device uploads the part of ``push`` [K, d] that the ones before it have left."""
        length = push.norm(dim=1)  # [K]
        longest = length[slots].max()
        if longest <= EPS * length.max():  # beside the others the target has nothing to share out
            return updates
        most = self.boost * interaction_size(updates)  # [n]
        left = push / longest * most.sum()  # [K, d]
        own = updates.rows.clone()  # [n, K, d]
        for number, bound in enumerate(most.tolist()):
            if bound == 0:  # nothing to predict in this slice: its upload stays empty
                continue
            size = left.norm(dim=1)  # [K]
            allowed = size > 0
            if updates.touched is not None:
                allowed = allowed & updates.touched[number]
            chosen = self._choose(size * allowed, slots, generator)
            part = left[chosen] * (bound / size[chosen].clamp(min=TINY)).clamp(max=1)[:, None]
            own[number, chosen] = part
            left[chosen] -= part
        return replace(updates, rows=own)

    def _choose(self, size: Tensor, slots: list[int], generator: torch.Generator) -> Tensor:
        """The targets' places and, with probability ∝ size, others with something left."""
        weight = size.clone()
        weight[slots] = 0
        weight = weight.cpu()  # where the generator is
        others = min(self.rows - len(slots), int((weight > 0).sum()))
        place = torch.tensor(slots)
        if others <= 0:
            return place.to(size.device)
        return torch.cat([place, torch.multinomial(weight, others, generator=generator)]).to(size.device)
