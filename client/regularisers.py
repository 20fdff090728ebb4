"""Terms that a device adds to its loss, on its own hidden states, for ONE user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from common.config import Component
from common.registry import build


@dataclass(frozen=True)
class Items:
    """What a term may know of the items: rows [K, d] of the slice as the device has them, slots int64 [ℓ]
    the place of each position's input in it (K: not in it), candidates bool [K] the rows it trains."""

    rows: Tensor
    slots: Tensor
    candidates: Tensor


class Regulariser(Protocol):
    """(hidden [ℓ, d], anchor [ℓ, d], padding bool [ℓ], items) -> a penalty of each position [ℓ].

    anchor: the hidden states of the global model on the same sequence, without dropout. Padded
    positions are masked by the caller, and the sum is divided by the fixed L like the loss.
    """

    def __call__(
        self, hidden: Tensor, anchor: Tensor, padding: Tensor, items: Items | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Coherence:
    """Temporal coherence: weight · ‖h_t − h_{t−1}‖², so that one odd interaction cannot turn the state."""

    weight: float = 1e-3

    def __call__(self, hidden: Tensor, anchor: Tensor, padding: Tensor, items: Items | None = None) -> Tensor:
        before = hidden.roll(1, 0)  # [ℓ, d]
        real = (~padding) & (~padding.roll(1, 0))  # [ℓ]
        real = real & (real.new_ones(real.shape).cumsum(0) > 1)  # the first position has no predecessor
        return self.weight * (hidden - before).square().sum(1) * real  # [ℓ]


@dataclass(frozen=True)
class Anchor:
    """User-representation anchor: weight · ‖h_t(local) − h_t(global)‖² against drift in local steps.

    Zero gradient in the first local step up to dropout; the proximal term of FedProx (arXiv 1812.06127)
    moved from parameters to representations.
    """

    weight: float = 1e-2

    def __call__(self, hidden: Tensor, anchor: Tensor, padding: Tensor, items: Items | None = None) -> Tensor:
        return self.weight * (hidden - anchor).square().sum(1)  # [ℓ]


@dataclass(frozen=True)
class Uniformity:
    """UNION's loss on the device: neighbours in its history alike, all other items apart (arXiv 2212.05399).

    weight · −log(exp(e_i·e_j) / (exp(e_i·e_j) + m·mean_n exp(e_i·e_n))) for a position with item i whose
    next input is j, both in the slice; n runs over the rows of the slice that the device does not hold. The
    paper draws m = ``negatives`` of them; m times their mean is the same in expectation, and draws nothing.
    """

    weight: float = 1.0
    negatives: int = 15

    def __call__(self, hidden: Tensor, anchor: Tensor, padding: Tensor, items: Items | None = None) -> Tensor:
        assert items is not None, "local training hands over the items"
        size = items.rows.shape[0]
        after = items.slots.roll(-1, 0)  # [ℓ]
        place = torch.arange(items.slots.shape[0], device=items.slots.device)
        pair = (items.slots < size) & (after < size) & (place < items.slots.shape[0] - 1)  # [ℓ]
        mine = items.rows[items.slots.clamp(max=size - 1)]  # [ℓ, d]
        alike = (mine * mine.roll(-1, 0)).sum(1)  # e_i·e_j  [ℓ]
        slot = torch.arange(size, device=items.slots.device)
        held = (items.slots[:, None] == slot).any(0)  # [K]
        others = items.candidates & ~held  # [K]
        apart = (mine @ items.rows.T).masked_fill(~others, -1e9)  # e_i·e_n  [ℓ, K]
        share = torch.log(self.negatives / others.sum().clamp(min=1))
        apart = torch.logsumexp(apart, dim=-1) + share  # [ℓ]
        return self.weight * torch.nn.functional.softplus(apart - alike) * pair  # [ℓ]


REGULARISERS: Mapping[str, Callable[..., Regulariser]] = {
    "anchor": Anchor,
    "coherence": Coherence,
    "uniformity": Uniformity,
}


def build_regularisers(components: Sequence[Component]) -> tuple[Regulariser, ...]:
    """The terms that a config names. Raises UnknownName or ConfigError with the valid names."""
    return tuple(build("regulariser", REGULARISERS, c.name, c.params) for c in components)
