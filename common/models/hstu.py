"""HSTU (Zhai et al. 2024, arXiv 2402.17152): pointwise aggregated attention over ONE user's sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.models.parts import CausalStack, causal, checked_heads, dropped

INTERVALS = 16
"""Buckets of the time between two items: k is from 4^k − 1 seconds on, the last from 34 years on."""


class HSTUBlock(nn.Module):
    """U, V, Q, K = SiLU(f_1(LN(X))); A = SiLU(QKᵀ + r)/L; Y = X + f_2(LN(A·V) ∘ U), causal.

    r_{ts} = b_{t−s}, and with times + c of the bucket of t's time less that of s: a number for all heads. No
    softmax: how many items agree is not lost.
    """

    sites = 1

    def __init__(self, dim: int, max_len: int, heads: int, times: bool) -> None:
        super().__init__()
        self.heads, self.max_len = heads, max_len
        self.input_norm = nn.LayerNorm(dim)
        self.input = nn.Linear(dim, 4 * dim)
        self.distance_bias = nn.Parameter(torch.zeros(max_len))
        self.interval_bias = nn.Parameter(torch.zeros(INTERVALS)) if times else None
        self.mixed_norm = nn.LayerNorm(dim, eps=1e-6)
        self.output = nn.Linear(dim, dim)

    def relative(self, buckets: Tensor | None, length: int) -> Tensor:
        """r [L, L]; ``buckets`` int64 [L, L] of the times between items."""
        place = torch.arange(length, device=self.distance_bias.device)  # [L]
        found = self.distance_bias[(place[:, None] - place).clamp(min=0)]  # [L, L]; what is later is masked
        return found if self.interval_bias is None else found + self.interval_bias[buckets]

    def forward(
        self, x: Tensor, bias: Tensor, keep: Tensor | None, positions: Tensor | None = None
    ) -> Tensor:
        """x [L, d], or its T ``positions`` alone; bias [T, L] of the logits, keep [1, T, d]: dropout."""
        (length, dim), wanted = x.shape, len(bias)
        u, v, q, k = F.silu(self.input(self.input_norm(x))).view(length, 4, dim).unbind(1)  # 4 x [L, d]
        if positions is not None:
            x, u, q = x[positions], u[positions], q[positions]  # [T, d]
        q = q.reshape(wanted, self.heads, -1).transpose(0, 1)  # [H, T, d/H]
        k = k.reshape(length, self.heads, -1).permute(1, 2, 0)  # [H, d/H, L]
        v = v.reshape(length, self.heads, -1).transpose(0, 1)  # [H, L, d/H]
        weights = F.silu(q @ k + bias) / self.max_len  # [H, T, L]; SiLU of a logit that must not count is 0
        mixed = (weights @ v).transpose(0, 1).reshape(wanted, dim)  # [T, d]
        return x + self.output(dropped(self.mixed_norm(mixed) * u, keep, 0))  # type: ignore[no-any-return]


def _later(gaps: Tensor) -> Tensor:
    """Σ_{s > t} of gaps [L] -> [L]: how long before the last item each item was."""
    return F.pad(gaps[1:], (0, 1)).flip(0).cumsum(0).flip(0)


class HSTU(CausalStack):
    """SASRec's frame with attention that adds up instead of averaging, and relative positions and times.

    times: whether a block also reads how long before item t item s was. The paper's code counts from the time
    of the item to be predicted, which nobody knows who is to predict it. positions: none, or learned
    absolute ones beside the relative. Its code ends in an L2 norm, this in a LayerNorm.
    """

    def __init__(
        self,
        dim: int = 64,
        max_len: int = 50,
        blocks: int = 2,
        heads: int = 1,
        positions: str = "none",
        times: bool = False,
    ) -> None:
        checked_heads(dim, heads)
        made = [HSTUBlock(dim, max_len, heads, times) for _ in range(blocks)]
        super().__init__(dim, max_len, made, positions)
        self.timed = times
        self.config = {
            "dim": dim,
            "max_len": max_len,
            "blocks": blocks,
            "heads": heads,
            "positions": positions,
            "times": times,
        }

    def biases(self, padding: Tensor, gaps: Tensor | None, dtype: torch.dtype) -> list[Tensor]:
        """B x [L, L]: what is masked, and r of each block."""
        mask, buckets = causal(padding, dtype), None  # [L, L]
        if self.timed:
            # Before the last item: what is near in time is exact, however long ago the first one was.
            seconds = torch.zeros_like(padding, dtype=dtype) if gaps is None else -_later(gaps)  # [L]
            between = (seconds[:, None] - seconds).clamp(min=0)  # [L, L]
            buckets = (torch.log2(1 + between) / 2).long().clamp(max=INTERVALS - 1)  # [L, L]
        return [mask + block.relative(buckets, len(padding)) for block in self.blocks]  # type: ignore[operator]
