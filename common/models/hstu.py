"""HSTU (Zhai et al. 2024, arXiv 2402.17152): pointwise aggregated attention over ONE user's sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.models.parts import CausalStack, checked_heads, dropped


class HSTUBlock(nn.Module):
    """U, V, Q, K = SiLU(f_1(LN(X))); A = SiLU(QKᵀ + r)/L; Y = X + f_2(LN(A·V) ∘ U), causal.

    r_{ts} = b_{t−s}, one number a distance for all heads. No softmax: how many items agree is not lost.
    """

    sites = 1

    def __init__(self, dim: int, max_len: int, heads: int) -> None:
        super().__init__()
        self.heads, self.max_len = heads, max_len
        self.input_norm = nn.LayerNorm(dim)
        self.input = nn.Linear(dim, 4 * dim)
        self.distance_bias = nn.Parameter(torch.zeros(max_len))
        self.mixed_norm = nn.LayerNorm(dim, eps=1e-6)
        self.output = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, bias: Tensor, keep: Tensor | None, positions: Tensor | None = None
    ) -> Tensor:
        """x [L, d], or its T ``positions`` alone; bias [T, L] of the logits, keep [1, T, d]: dropout."""
        (length, dim), wanted = x.shape, len(bias)
        place = torch.arange(length, device=x.device)  # [L]
        query_place = place if positions is None else positions  # [T]
        distance = (query_place[:, None] - place).clamp(min=0)  # [T, L]; what is later is masked
        u, v, q, k = F.silu(self.input(self.input_norm(x))).view(length, 4, dim).unbind(1)  # 4 x [L, d]
        if positions is not None:
            x, u, q = x[positions], u[positions], q[positions]  # [T, d]
        q = q.reshape(wanted, self.heads, -1).transpose(0, 1)  # [H, T, d/H]
        k = k.reshape(length, self.heads, -1).permute(1, 2, 0)  # [H, d/H, L]
        v = v.reshape(length, self.heads, -1).transpose(0, 1)  # [H, L, d/H]
        # SiLU of a logit that must not count is 0.
        weights = F.silu(q @ k + self.distance_bias[distance] + bias) / self.max_len  # [H, T, L]
        mixed = (weights @ v).transpose(0, 1).reshape(wanted, dim)  # [T, d]
        return x + self.output(dropped(self.mixed_norm(mixed) * u, keep, 0))  # type: ignore[no-any-return]


class HSTU(CausalStack):
    """SASRec's frame with attention that adds up instead of averaging, and relative positions.

    The paper's relative times are left out: a message that asks for a ranking brings no times. positions:
    none, or learned absolute ones beside the relative. Where its code ends in an L2 norm, this ends in a
    LayerNorm.
    """

    def __init__(
        self, dim: int = 64, max_len: int = 50, blocks: int = 2, heads: int = 1, positions: str = "none"
    ) -> None:
        checked_heads(dim, heads)
        super().__init__(dim, max_len, [HSTUBlock(dim, max_len, heads) for _ in range(blocks)], positions)
        self.config = {
            "dim": dim,
            "max_len": max_len,
            "blocks": blocks,
            "heads": heads,
            "positions": positions,
        }
