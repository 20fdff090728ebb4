"""LRURec (Yue et al. 2024, arXiv 2310.02367): linear recurrent units over ONE user's sequence."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from common.models.parts import MixerStack

LEAST, MOST = 0.8, 0.99
"""|λ| at the start."""


class LRU(nn.Module):
    """h_t = λ ∘ h_{t−1} + γ ∘ (B·x_t + b), y_t = Re(C·h_t) + c + x_t, with complex h of 2d numbers.

    λ = exp(−exp(ν) + i·exp(θ)) and γ = √(1 − |λ|²) at the start (Orvieto et al. 2023, arXiv 2303.06349). Here
    ``decay`` is −ν, so that a larger one remembers longer. Padding adds nothing to the state.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        size = 2 * dim
        self.real_in, self.imaginary_in = nn.Linear(dim, size), nn.Linear(dim, size)
        self.real_out = nn.Linear(size, dim)
        self.imaginary_out = nn.Linear(size, dim, bias=False)
        # Even over the ring LEAST ≤ |λ| ≤ MOST, the angles by the golden ratio: the same start every time.
        place = (torch.arange(size) + 0.5) / size
        modulus = (LEAST**2 + place * (MOST**2 - LEAST**2)).sqrt()  # [2d]
        angle = 2 * math.pi * (torch.arange(1, size + 1) * (math.sqrt(5) - 1) / 2 % 1)  # [2d]
        self.decay = nn.Parameter(-(-modulus.log()).log())
        self.angle = nn.Parameter(angle.log())
        self.scale = nn.Parameter((1 - modulus.square()).sqrt())

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x [L, d], padding bool [L] -> [L, d].

        Σ_{s ≤ t} λ^{t−s}·u_s by doubling: after step k a state holds its last 2^k terms.
        """
        silent = padding[:, None]  # [L, 1]
        real = torch.where(silent, 0.0, self.scale * self.real_in(x))  # [L, 2d]
        imaginary = torch.where(silent, 0.0, self.scale * self.imaginary_in(x))  # [L, 2d]
        log_modulus, angle, reach = -(-self.decay).exp(), self.angle.exp(), 1  # log|λ|, arg λ [2d]
        while reach < len(x):
            size = (reach * log_modulus).exp()  # |λ^reach| [2d]
            a, b = size * (reach * angle).cos(), size * (reach * angle).sin()  # λ^reach
            r, i = _later(real, reach), _later(imaginary, reach)  # h_{t − reach}
            real, imaginary, reach = real + a * r - b * i, imaginary + a * i + b * r, 2 * reach
        return self.real_out(real) - self.imaginary_out(imaginary) + x  # type: ignore[no-any-return]


def _later(x: Tensor, steps: int) -> Tensor:
    """x [L, m] moved ``steps`` places on, with zeros before."""
    return torch.cat([torch.zeros_like(x[:steps]), x[:-steps]])


class LRURec(MixerStack):
    """Linear recurrent units and feed-forward layers, each followed by a residual and a LayerNorm.

    No positions, as in the paper: a state knows how long ago an item was.
    """

    def __init__(self, dim: int = 64, max_len: int = 50, blocks: int = 2) -> None:
        super().__init__(dim, max_len, [LRU(dim) for _ in range(blocks)], positions="none")
        self.config = {"dim": dim, "max_len": max_len, "blocks": blocks}
