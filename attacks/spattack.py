"""Spattack: poison per item, where on a rarely held row the attackers are the majority."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from attacks.base import Attack, View
from attacks.estimates import own_honest, own_rows, rms
from common.seeding import generator
from common.updates import DeviceUpdates, onto


@dataclass(frozen=True)
class Spattack(Attack):
    """Rows alone are poisoned, every row that a device may send (the dense form); the encoder is honest.

    o  row_i := −(1/f_i)·Σ_benign g_i, so that f_i attackers leave nothing of row i in a sum. The benign sum
       is seen with ``knowledge: full`` (the paper's omniscient attacker); else (1 − ρ)/ρ times the
       attackers' own honest sum stands for it, ρ = ``share``.
    l  row_i := scale · rms · n_i, n_i ~ N(0, I) drawn once a run, the same from all attackers; rms that of
       their own honest rows, where the paper takes N(0, 1) as it is.
    Zhang et al. 2025 (arXiv 2501.03301). Honest where all own devices are idle.
    """

    mode: Literal["o", "l"] = "l"
    share: float = 0.2
    scale: float = 10.0

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 2501.03301"
    full: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.mode not in ("o", "l"):
            raise ValueError(f"mode must be one of o, l, given {self.mode!r}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, given {self.share}")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        if not len(own_honest(updates)):
            return updates
        rows = self._cancelling(updates, view) if self.mode == "o" else self._noise(updates, view)  # [K, d]
        return replace(updates, encoder=updates.encoder.clone(), rows=own_rows(updates, rows))

    def _cancelling(self, updates: DeviceUpdates, view: View) -> Tensor:
        if view.honest is None:
            total = (1 - self.share) / self.share * updates.rows.sum(dim=0)  # [K, d]
        else:
            total = onto(view.honest, updates.items).rows.sum(dim=0)
        holders = torch.full((len(total),), len(updates), device=total.device)  # f_i  [K]
        if updates.touched is not None:
            holders = updates.touched.sum(dim=0).clamp_min(1)
        return -total / holders[:, None]

    def _noise(self, updates: DeviceUpdates, view: View) -> Tensor:
        table = view.task.model.table
        fixed = torch.randn(table.shape, generator=generator(view.seed, "spattack")).to(table)  # [N + 1, d]
        held = updates.rows if updates.touched is None else updates.rows[updates.touched]
        return self.scale * rms(held) * fixed[updates.items.long()]
