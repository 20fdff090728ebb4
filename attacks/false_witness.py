"""False witness: honest rows turned towards users who do not exist."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.base import Attack, View
from attacks.pushing import interaction_size
from common.updates import STRONG, DeviceUpdates


@dataclass(frozen=True)
class FalseWitness(Attack):
    """g_ui := ‖g_ui‖ · e_v/‖e_v‖ on every strong row i of device u, v one of the ``victims`` of the round.

    A defence that reads users off the pulled rows (`exposure_cap`) sees people who get v before everything
    else, finds v recommended too widely, and takes it from those who should get it. Victims are the rows of
    the slice that own users hold most; devices share them out by their numbers. All else is honest: sizes,
    the rows that move, the encoder. Ours, against docs/method.md.
    """

    victims: int = 6

    kind: ClassVar[str] = "model"
    owned: ClassVar[bool] = True
    knowledge: ClassVar[str] = "global model, own data, the constraint's recipe"

    def __post_init__(self) -> None:
        if self.victims < 1:
            raise ValueError(f"victims must be at least 1, given {self.victims}")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        working = updates.rows.flatten(1).any(dim=1)  # [n]
        if not bool(working.any()):
            return updates
        chosen = self.chosen(updates, view)  # [v]
        mine = chosen[updates.device.to(chosen.device) % len(chosen)]  # [n]
        towards = F.normalize(view.task.model.table[updates.items[mine].long()], dim=1)  # [n, d]
        norms = updates.row_norms  # [n, K]
        size = interaction_size(updates)[working].quantile(0.5)
        turned = norms > STRONG * size  # [n, K]
        rows = torch.where(turned[:, :, None], norms[:, :, None] * towards[:, None], updates.rows)
        return replace(updates, rows=rows)

    def chosen(self, updates: DeviceUpdates, view: View) -> Tensor:
        """Places in the slice of the items that own users hold most, int64 [v]."""
        size = len(view.task.model.table)
        held = np.bincount(np.concatenate(list(view.cohort.sequences)), minlength=size)  # [N + 1]
        mine = torch.from_numpy(held).to(updates.items.device)[updates.items.long()]  # [K]
        return mine.topk(min(self.victims, len(mine))).indices
