"""Adaptive: a promotion attack that knows the sieve and stays inside every bound it can see."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from flwr.app import ArrayRecord
from torch import Tensor
from torch.nn import functional as F

from attacks.base import Attack, View
from attacks.hidden import last_states
from attacks.hiding import mixed
from attacks.label_to_target import LabelToTarget
from attacks.pushing import TINY
from attacks.recipe import TOLERANCE, Bounds, estimate
from attacks.shilling import confined, trained_targets
from attacks.unseen import beside, made_up_mean
from client.batch import Batch
from common.updates import DeviceUpdates
from common.wire.arrays import as_record, pack, unpack

MODES = ("row", "encoder", "last_position", "spread", "unseen", "neighbours")
TIMES = ("present", "absent", "always")
GOLDEN = 0.6180339887498949
"""Multiples of it lie evenly between whole numbers (Weyl): any few devices have about the share of roles."""

MEMORY = "adaptive"
"""Key of a record in the node's memory: the poison P of the latest round that trained the target."""

TEACHERS = 16
"""How many own devices are trained as label poisoners for an encoder to mix in."""


@dataclass(frozen=True)
class Adaptive(Attack):
    """g_u,t := c·h̄, all else honest; c the most that the sieve lets a row move in that direction.

    h̄ is the mean direction of own users (hidden states after their histories). The recipe is that of
    docs/method.md with its defaults: no row is beyond its bound, so nothing is lost to the row clip and
    retention is full; an encoder stays within its bound, whose median is estimated on own devices.

    mode  row            the above
          encoder        and the encoder is as loud as it may be and mixed with that of label poisoners:
                         ``mix`` of it, or what is ``tolerance`` more alike than people are; only the part
                         ``holders`` of the devices then show the target, and only the others poison;
                         when: in rounds that train the target, in those that do not, or always
          last_position  honest training, but the target is the last interaction of the window
          spread         row, by a device in one of ``turns`` rounds, by turns; in the others it is honest
          unseen         row, but h̄ without its part along the users that the server makes up
          neighbours     row, on the ``near`` items of the slice nearest to the target, and never on it

    loudness is the length of an encoder over what it may be; above 1 the encoder clip cuts it. So many
    ``decoys``, drawn once by those who collude, are pushed like the target (not with last_position or
    neighbours): items of the same holders.

    Ours, against docs/method.md. An honest training, a forward pass, and with ``encoder`` the training of at
    most 16 devices more.
    """

    mode: Literal["row", "encoder", "last_position", "spread", "unseen", "neighbours"] = "row"
    mix: float = 0.5
    careful: bool = True
    tolerance: float = TOLERANCE
    holders: float = 1.0
    turns: int = 4
    near: int = 8
    loudness: float = 1.0
    when: Literal["present", "absent", "always"] = "present"
    decoys: int = 0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global model, own data, the sieve's recipe"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, given {self.mode!r}")
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix must be a share from 0 to 1, given {self.mix}")
        if not 0 < self.holders <= 1:
            raise ValueError(f"holders must be a share above 0, up to 1, given {self.holders}")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance must be 0 or more, given {self.tolerance}")
        if self.turns < 1 or self.near < 1:
            raise ValueError("turns and near must be at least 1")
        if self.loudness <= 0:
            raise ValueError(f"loudness must be positive, given {self.loudness}")
        if self.when not in TIMES:
            raise ValueError(f"when must be one of {', '.join(TIMES)}, given {self.when!r}")
        if self.decoys < 0:
            raise ValueError(f"decoys must be 0 or more, given {self.decoys}")

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
        slots, bounds = self.pushed_slots(view), estimate(updates, view.task)
        chosen = self.pushing(updates, view)
        if bounds is None or not len(chosen):
            return updates
        shows, poisons = self.roles(updates.device.to(chosen.device)[chosen])
        rows = self.shown(updates, chosen[shows], slots, bounds, view) if slots else updates.rows
        hostile, present = chosen[poisons], bool(view.slots())
        encoder = updates.encoder.clone()
        if self.mode == "encoder" and len(hostile):
            poison = self.poison_of(hostile, view) if present else recalled(view)
            if poison is not None and self.when in ("always", "present" if present else "absent"):
                most = self.loudness * bounds.encoder[hostile]  # [m]
                tolerance = self.tolerance if self.careful else math.inf
                encoder[hostile] = louder(mixed(encoder[hostile], poison, self.mix, tolerance), most)
        return replace(updates, encoder=encoder, rows=rows)

    def shown(
        self, updates: DeviceUpdates, chosen: Tensor, slots: list[int], bounds: Bounds, view: View
    ) -> Tensor:
        """Rows [n, K, d] with those at ``slots`` pushed by the devices at ``chosen`` int64 [m]."""
        rows, users = updates.rows.clone(), last_states(view)  # [n, K, d], [n, d]
        mean = users.mean(0)
        if self.mode == "unseen":
            mean = beside(mean, made_up_mean(view))
        pushed = torch.tensor(slots, device=rows.device)  # [s]
        towards = F.normalize(mean, dim=0)  # h̄ [d]
        push = (bounds.most(towards[None]) * towards).expand(len(chosen), len(slots), -1)  # [m, s, d]
        if updates.touched is not None:  # own negatives: nobody moves a row that it does not name
            mine = updates.touched[chosen[:, None], pushed]  # [m, s]
            push = torch.where(mine[:, :, None], push, rows[chosen[:, None], pushed])
        rows[chosen[:, None], pushed] = push
        return rows

    def pushed_slots(self, view: View) -> list[int]:
        """Places in the slice of what is pushed: the targets, or what is nearest to them in the table."""
        if self.mode != "neighbours" or not view.targets:
            return replace(view, targets=(*view.targets, *self.drawn_decoys(view))).slots()
        model, items = view.task.model, view.cohort.rows.items.long()  # [K]
        wanted = torch.tensor(view.targets, device=items.device)
        near, targets = F.normalize(model.embed(items), dim=1), F.normalize(model.embed(wanted), dim=1)
        alike = (near @ targets.T).amax(dim=1)  # [K]
        alike[torch.isin(items, wanted)] = -math.inf
        nearest = items[alike.topk(min(self.near, len(items))).indices]
        return replace(view, targets=tuple(nearest.tolist())).slots()

    def drawn_decoys(self, view: View) -> list[int]:
        """The same in every round and at every node of those who collude."""
        draw = torch.Generator().manual_seed(view.seed)
        items = 1 + torch.randperm(len(view.task.model.embeddings) - 1, generator=draw)
        first = items[: self.decoys + len(view.targets)].tolist()
        return [item for item in first if item not in view.targets][: self.decoys]

    def pushing(self, updates: DeviceUpdates, view: View) -> Tensor:
        """Places int64 [m] of the devices that push in this round; who is idle has nothing to hide behind."""
        mine = updates.rows.flatten(1).any(dim=1)
        if self.mode == "spread":
            mine = mine & ((updates.device.to(mine.device) + view.task.round) % self.turns == 0)
        return mine.nonzero().flatten()

    def roles(self, devices: Tensor) -> tuple[Tensor, Tensor]:
        """Who of ``devices`` [m] shows the target and who poisons encoders, bool [m] each: all both with
        ``holders`` 1. Else a device is one or the other for good, by its number."""
        every = torch.ones_like(devices, dtype=torch.bool)
        if self.mode != "encoder" or self.holders == 1:
            return every, every
        shows = devices.double() * GOLDEN % 1.0 < self.holders
        return shows, ~shows

    def poison_of(self, chosen: Tensor, view: View) -> Tensor:
        """The mean encoder of some of these devices as label poisoners, which is remembered: [P]."""
        fresh = view.cohort.take(chosen[:TEACHERS].tolist())
        poison = fresh.train(lambda batch, devices: LabelToTarget().relabel(batch, view)).encoder.mean(0)
        if self.when != "present":
            view.memory[MEMORY] = as_record({"poison": pack(poison, "float32")})
        return poison


def recalled(view: View) -> Tensor | None:
    """The latest poison [P], None before the first."""
    if MEMORY not in view.memory:
        return None
    record, encoder = cast(ArrayRecord, view.memory[MEMORY]), view.task.model.encoder
    return unpack(record["poison"], "poison", "float32", tuple(encoder.shape), encoder.device)


def louder(encoders: Tensor, most: Tensor) -> Tensor:
    """Encoders [m, P] at the length ``most`` [m]."""
    scale: Tensor = most / encoders.norm(dim=1).clamp(min=TINY)  # [m]
    return encoders * scale[:, None]
