"""Adaptive: a promotion attack that knows the sieve and stays inside every bound it can see."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.base import Attack, View
from attacks.hidden import last_states
from attacks.hiding import add_decoys, best_forward, cancelled, drawn_signs, mixed
from attacks.label_to_target import LabelToTarget
from attacks.pushing import TINY
from attacks.recipe import TOLERANCE, Bounds, clipped, estimate
from attacks.shilling import confined, trained_targets
from attacks.unseen import beside, made_up_mean
from client.batch import Batch
from common.seeding import generator
from common.updates import DeviceUpdates

MODES = ("row", "encoder", "last_position", "spread", "unseen", "public")
TEACHERS = 16
"""How many own devices are trained as label poisoners for an encoder to mix in."""


@dataclass(frozen=True)
class Adaptive(Attack):
    """g_u,t := c·(√(1−j²)·h̄ + j·o_u), all else honest and clipped to c; c the size of one interaction.

    h̄ is the mean direction of own users (hidden states after their histories), o_u ⟂ h̄ a random direction
    of the device. The recipe is that of docs/method.md with its defaults, its medians are estimated on the
    honest training of own devices, and each stage is answered: rows are clipped to c (nothing is lost to the
    row clip, and retention is full); ``decoys`` other rows a device, not the same ones, move by c in the
    direction of its own user while the block has room; the other rows shrink until the block fits,
    the encoder to its median norm; the jitter j maximises √(1−j²) times the mean collusion weight.

    mode  row            the above
          encoder        and the encoder is mixed with that of label poisoners, as long: ``mix`` of it, or
                         what the sieve still takes for the alikeness of people
          last_position  honest training, but the target is the last interaction of the window
          spread         row, by a device in one of ``turns`` rounds, by turns; in the others it is honest
          unseen         row, but h̄ without its part along the users that the server makes up
          public         row, all straight along h̄, and beside each target a row that cancels it in the folded
                         vectors that the sieve compares, should their signs come from the run's public seed

    Ours, against docs/method.md. An honest training, a forward pass, O(n²·K·d) for the cosines, and with
    ``encoder`` the training of at most 16 devices more.
    """

    mode: Literal["row", "encoder", "last_position", "spread", "unseen", "public"] = "row"
    mix: float = 0.5
    careful: bool = True
    decoys: int = 4
    turns: int = 4

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global model, own data, the sieve's recipe"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, given {self.mode!r}")
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix must be a share from 0 to 1, given {self.mix}")
        if self.decoys < 0 or self.turns < 1:
            raise ValueError("decoys must be 0 or more and turns at least 1")

    def relabel(self, batch: Batch, view: View) -> Batch:
        targets = trained_targets(view)
        if self.mode != "last_position" or not targets:
            return batch
        labels = batch.targets.clone()
        target = targets[view.task.round % len(targets)]
        labels[:, -1] = torch.where(labels[:, -1] > 0, target, 0)
        return replace(batch, targets=labels)

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        if self.mode == "last_position":
            return confined(updates)
        slots, bounds = view.slots(), estimate(updates)
        chosen = self.pushing(updates, view)
        if not slots or bounds is None or not len(chosen):
            return updates
        users = last_states(view)  # [n, d]
        encoder, rows = updates.encoder.clone(), updates.rows.clone()
        some = updates.take(chosen)
        mean = users.mean(0)
        if self.mode == "unseen":
            mean = beside(mean, made_up_mean(view))
        rows[chosen] = self.pushed(some, slots, users[chosen], F.normalize(mean, dim=0), bounds, view)
        if self.mode == "encoder":
            encoder[chosen] = self.mixed(some.encoder, chosen, view)
        norms = encoder[chosen].norm(dim=1, keepdim=True)
        encoder[chosen] *= (bounds.encoder / norms.clamp(min=TINY)).clamp(max=1)
        return replace(updates, encoder=encoder, rows=rows)

    def pushing(self, updates: DeviceUpdates, view: View) -> Tensor:
        """Places int64 [m] of the devices that push in this round; who is idle has nothing to hide behind."""
        mine = updates.rows.flatten(1).any(dim=1)
        if self.mode == "spread":
            mine = mine & ((updates.device.to(mine.device) + view.task.round) % self.turns == 0)
        return mine.nonzero().flatten()

    def pushed(
        self, some: DeviceUpdates, slots: list[int], users: Tensor, mean: Tensor, bounds: Bounds, view: View
    ) -> Tensor:
        """Rows [m, K, d] of the devices that push: targets by c, decoys, and the rest within the block."""
        base = clipped(some.rows, bounds.size)
        base[:, slots] = 0
        # What the targets leave of the block; never nothing, as zero rows would be refused.
        beside = 2 if self.mode == "public" else 1
        room = max(bounds.rows**2 - beside * len(slots) * bounds.size**2, (0.1 * bounds.rows) ** 2)
        free = (
            base.new_ones(base.shape[:2], dtype=torch.bool) if some.touched is None else some.touched.clone()
        )
        free[:, slots] = False
        own = [generator(view.seed, "adaptive", view.task.round, n) for n in some.device.tolist()]
        add_decoys(base, free, users, self.decoys, room, bounds.size, own)
        base *= (room**0.5 / base.flatten(1).norm(dim=1).clamp(min=TINY)).clamp(max=1)[:, None, None]
        if self.mode == "public":
            base[:, slots] = bounds.size * mean
            signs = drawn_signs(view.seed, view.task.round, base.shape[1:]).to(base)
            return cancelled(base, slots, signs)
        noise = torch.stack([torch.randn(len(mean), generator=one) for one in own]).to(mean)  # [m, d]
        aside = F.normalize(noise - (noise @ mean)[:, None] * mean, dim=1)
        forward = best_forward(base, mean, aside, len(slots), bounds)
        base[:, slots] = bounds.size * (forward * mean + (1 - forward**2) ** 0.5 * aside)[:, None, :]
        return base

    def mixed(self, encoder: Tensor, chosen: Tensor, view: View) -> Tensor:
        """Own encoders with that of some label poisoners in them, as much as may be: [m, P]."""
        fresh = view.cohort.take(chosen[:TEACHERS].tolist())
        poison = fresh.train(lambda batch, devices: LabelToTarget().relabel(batch, view)).encoder.mean(0)
        return mixed(encoder, poison, self.mix, TOLERANCE if self.careful else math.inf)
