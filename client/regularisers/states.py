"""Terms on the hidden states that the loss has computed anyway."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.regularisers.base import Own, Regulariser, checked


@dataclass(frozen=True)
class Coherence(Regulariser):
    """Temporal coherence: weight · w_t ‖h_t − h_{t−1}‖², so that one odd interaction cannot turn the state.

    w_t = exp(−Δt/tau) with Δt and ``tau`` in seconds: states after a long pause may differ. w_t = 1 with
    ``tau: 0``, and where the log has no time stamps.
    """

    weight: float = 1e-3
    tau: float = 0.0

    def __post_init__(self) -> None:
        checked(self.weight)
        if not 0 <= self.tau < float("inf"):
            raise ValueError(f"tau must be finite and at least 0 seconds, given {self.tau}")

    @property
    def timed(self) -> bool:
        return self.tau > 0

    def __call__(self, own: Own) -> Tensor:
        hidden, padding = own.hidden, own.padding
        before = hidden.roll(1, 0)  # [ℓ, d]
        real = (~padding) & (~padding.roll(1, 0))  # [ℓ]
        real = real & (real.new_ones(real.shape).cumsum(0) > 1)  # the first position has no predecessor
        penalty = self.weight * (hidden - before).square().sum(1) * real  # [ℓ]
        return penalty * torch.exp(-own.gaps / self.tau) if self.timed else penalty


@dataclass(frozen=True)
class Anchor(Regulariser):
    """User-representation anchor: weight · ‖h_t(local) − h_t(global)‖² against drift in local steps.

    Zero gradient in the first local step up to dropout; the proximal term of FedProx moved from
    parameters to representations. Reference: arXiv 1812.06127.
    """

    weight: float = 1e-2

    def __post_init__(self) -> None:
        checked(self.weight)

    def __call__(self, own: Own) -> Tensor:
        return self.weight * (own.hidden - own.anchor).square().sum(1)  # [ℓ]
