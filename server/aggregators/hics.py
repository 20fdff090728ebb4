"""HiCS: hierarchical gradient clipping with sparsified updating."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough
from server.aggregators.stages import TINY, interaction_size

TIE = 1e-4
"""Rows whose norms differ by less of ρ than this are equally large."""


@dataclass(frozen=True)
class Hics(Aggregator):
    """Each row's mean over the devices that touched it, clipped, banked; only the largest of the bank moves.

    m_i = mean of g_ui over the devices u that touched item i; m_i ← m_i·min(1, ρ/‖m_i‖); bank_i += m_i.
    Of the slice's K rows the ⌈share·K⌉ with the largest ‖bank_i‖ are applied and leave the bank; the
    others wait, a row outside the slice until a slice holds it; of equals the first goes. ρ is ``max_norm``
    (3 in public code, on another scale of updates), or the size of one interaction without it
    (``stages.interaction_size``); ``clip_devices`` clips every g_ui to ρ too. The encoder gets the plain
    mean. The bank, by catalogue number, is the rule's state and grows on demand. Complexity
    O(n·(P + K·d)). Breakdown point 0 in direction: a round banks at most ρ a row, whoever it came from.
    Reference: arXiv 2304.03054.
    """

    name: ClassVar[str] = "hics"
    family: ClassVar[str] = "recommendation"
    sliced: ClassVar[bool] = False
    share: float = 0.1
    max_norm: float | None = None
    clip_devices: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], given {self.share}")
        if self.max_norm is not None:
            positive(max_norm=self.max_norm)

    def init(self) -> State:
        return {"bank": torch.zeros(0, 0)}

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        norms = updates.row_norms  # [n, K]
        limit = interaction_size(norms) if self.max_norm is None else norms.new_tensor(self.max_norm)
        held = torch.ones_like(norms) if updates.touched is None else updates.touched.to(norms)
        shares = held / held.sum(dim=0).clamp_min(1)  # [n, K], each row's sum 1 or 0
        if self.clip_devices:
            shares = shares * _factor(norms, limit)
        mean = torch.einsum("nkd,nk->kd", updates.rows, shares)
        mean = mean * _factor(mean.norm(dim=1), limit)[:, None]

        items = updates.items.long()
        bank = grown(state["bank"], int(items.max()) + 1 if len(items) else 0, mean)
        bank[items] += mean
        due = bank[items]  # [K, d]
        size = (due.norm(dim=1) / limit.clamp_min(TINY) / TIE).round()  # rows clipped to ρ tie for good
        order = size.argsort(descending=True, stable=True)
        applied = torch.zeros_like(held[0], dtype=torch.bool)
        applied[order[: math.ceil(self.share * len(items) - 1e-9)]] = True
        rows = torch.where(applied[:, None], due, 0.0)
        bank[items[applied]] = 0
        figures = {"hics.limit": float(limit), "hics.waiting": float((bank != 0).any(dim=1).sum())}
        return Aggregate(updates.encoder.mean(dim=0), rows, None, figures), {"bank": bank}


def grown(bank: Tensor, count: int, like: Tensor) -> Tensor:
    """A copy of the bank with at least ``count`` rows as wide as those of ``like`` [K, d]."""
    room = like.new_zeros((max(count, len(bank)), like.shape[1]))
    if bank.numel():
        room[: len(bank)] = bank
    return room


def _factor(norms: Tensor, limit: Tensor) -> Tensor:
    """min(1, limit/norm)."""
    return (limit / norms.clamp_min(TINY)).clamp(max=1.0)
