"""LASA: layer-adaptive sparsified model aggregation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import positive, unit
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough
from server.aggregators.gram import middle, whole_norms

ROUNDING = 1e-9
"""A score this close (relatively) to its bound counts as on it: of two devices both or none pass."""


@dataclass(frozen=True)
class Lasa(Aggregator):
    """Per layer, the mean of the clipped updates whose sparsified norm and sign purity are both usual.

    u_i ← u_i·min(1, median/‖u_i‖). In each layer, of a copy with the ``sparsity`` smallest entries of the
    device set to 0: norm x_i and purity p_i = ½(1 + (1 − sparsity)·Σ sign/Σ |sign|). A device stays if
    |x − median|/std < ``norm_bound`` for the norms and < ``sign_bound`` for the purities; if none does,
    all do. The layers here are two: the encoder block and the item-row block, the only borders that all
    models share. Entries that tie at the sparsity threshold are all kept. Complexity O(n·P). Breakdown
    point 1/2 (medians); the clip bounds what passes. Reference: arXiv 2409.01435.
    """

    name: ClassVar[str] = "lasa"
    family: ClassVar[str] = "layer"
    sparsity: float = 0.3
    norm_bound: float = 2.0
    sign_bound: float = 1.0

    def __post_init__(self) -> None:
        unit(sparsity=self.sparsity)
        positive(norm_bound=self.norm_bound, sign_bound=self.sign_bound)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        size = whole_norms(updates)  # [n]
        clip = (middle(size) / size.clamp_min(1e-300)).clamp_max(1)
        blocks = (updates.encoder, updates.rows.flatten(1))
        (encoder, inside), (rows, among) = (self._layer(block, clip) for block in blocks)
        figures = {"lasa.encoder": inside, "lasa.rows": among}
        return Aggregate(encoder, rows.reshape(updates.rows.shape[1:]), None, figures), state

    def _layer(self, values: Tensor, clip: Tensor) -> tuple[Tensor, float]:
        """The layer's aggregate [p] from [n, p] and the factors [n]; the share of devices that stay."""
        measured = [sparse_norm_and_purity(value, self.sparsity) for value in values]
        norms, purity = torch.stack(measured).T  # [n] each
        stay = usual(norms * clip, self.norm_bound) & usual(purity, self.sign_bound)
        stay = stay | ~stay.any()
        weights = stay * clip / stay.sum()  # [n]
        return weights.float() @ values, float(stay.double().mean())


def sparse_norm_and_purity(value: Tensor, sparsity: float) -> Tensor:
    """‖x‖ and ½(1 + (1 − sparsity)·Σ sign x/Σ |sign x|) of [p] without its smallest entries: float64 [2]."""
    size = value.abs()
    drop = int(sparsity * value.numel() + ROUNDING)
    if drop:
        value = torch.where(size >= size.kthvalue(drop + 1).values, value, 0.0)
    signs = value.sign()
    held = signs.abs().sum(dtype=torch.float64).clamp_min(1)
    purity = (1 + (1 - sparsity) * signs.sum(dtype=torch.float64) / held) / 2
    return torch.stack([value.double().norm(), purity])


def usual(values: Tensor, bound: float) -> Tensor:
    """|x − median|/std < bound, and true for all where they are equal; [n] -> bool [n]."""
    away = (values - middle(values)).abs()
    return (away < bound * values.std(correction=0) * (1 - ROUNDING)) | (away == 0)
