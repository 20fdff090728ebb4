"""A device's states stay near those of the global model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from client.regularisers.base import Own, Regulariser, checked


@dataclass(frozen=True)
class Anchor(Regulariser):
    """User-representation anchor: weight · ‖h_t(local) − h_t(global)‖² against drift in local steps.

    In the first local step the two differ by dropout alone. The proximal term of FedProx moved from
    parameters to representations. Reference: arXiv 1812.06127.
    """

    weight: float = 1e-2

    def __post_init__(self) -> None:
        checked(self.weight)

    def __call__(self, own: Own) -> Tensor:
        return self.weight * (own.hidden - own.anchor).square().sum(1)  # [ℓ]
