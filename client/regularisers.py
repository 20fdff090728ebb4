"""Terms that a device adds to its loss, on its own hidden states, for ONE user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from client.uniformity import contrast
from common.config import Component
from common.registry import build


@dataclass(frozen=True)
class Items:
    """What a term may know of the items: inputs [ℓ, d] and the slice's rows [K, d] as the device has them,
    target int64 [ℓ] the place of the next item among them, valid where counted bool [ℓ], candidates bool [K]
    the rows it trains."""

    inputs: Tensor
    rows: Tensor
    target: Tensor
    counted: Tensor
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
    """UNION's part on the device: weight · contrast of neighbours in its history with all other items."""

    weight: float = 1.0
    negatives: int = 15

    def __call__(self, hidden: Tensor, anchor: Tensor, padding: Tensor, items: Items | None = None) -> Tensor:
        assert items is not None, "local training hands over the items"
        return self.weight * contrast(
            items.inputs, items.rows, items.target, items.counted, items.candidates, self.negatives
        )


REGULARISERS: Mapping[str, Callable[..., Regulariser]] = {
    "anchor": Anchor,
    "coherence": Coherence,
    "uniformity": Uniformity,
}


def build_regularisers(components: Sequence[Component]) -> tuple[Regulariser, ...]:
    """The terms that a config names. Raises UnknownName or ConfigError with the valid names."""
    return tuple(build("regulariser", REGULARISERS, c.name, c.params) for c in components)
