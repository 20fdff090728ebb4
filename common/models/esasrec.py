"""eSASRec (Tikhonovich et al. 2025, arXiv 2508.06450): SASRec with the layers of LiGR."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.models.parts import MAX_EXPANSION, CausalStack, SelfAttention, checked_heads, dropped


class LiGRBlock(SelfAttention):
    """x ← x + σ(W_1·x + b_1) ∘ MHA(LN(x)); x ← x + σ(W_2·x + b_2) ∘ SwiGLU(LN(x)).

    LiGR (Borisyuk et al. 2025, arXiv 2502.03417). SwiGLU(x) = W_o(SiLU(W_g·x) ∘ W_v·x), ``expansion``·d wide.
    """

    def __init__(self, dim: int, heads: int, expansion: int) -> None:
        super().__init__(dim, heads)
        self.attention_gate = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.gate = nn.Linear(dim, expansion * dim, bias=False)
        self.inner = nn.Linear(dim, expansion * dim, bias=False)
        self.outer = nn.Linear(expansion * dim, dim, bias=False)
        self.feed_gate = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, bias: Tensor, keep: Tensor | None, positions: Tensor | None = None
    ) -> Tensor:
        """x [L, d], or its T ``positions`` alone; bias [T, L] of the logits, keep [2, T, d]: dropout."""
        mixed = self.attend(self.attention_norm(x), bias, positions)  # [T, d]
        x = x if positions is None else x[positions]  # [T, d]
        x = x + torch.sigmoid(self.attention_gate(x)) * dropped(mixed, keep, 0)  # [T, d]
        normed = self.feed_norm(x)  # [T, d]
        fed = self.outer(F.silu(self.gate(normed)) * self.inner(normed))  # [T, d]
        return x + torch.sigmoid(self.feed_gate(x)) * dropped(fed, keep, 1)  # [T, d]


class ESASRec(CausalStack):
    """SASRec whose blocks gate each residual and feed forward by SwiGLU; its paper trains it by softmax.

    expansion: inner width of SwiGLU as a multiple of d, 1 to 4. positions: learned, or none.
    """

    def __init__(
        self,
        dim: int = 64,
        max_len: int = 50,
        blocks: int = 2,
        heads: int = 1,
        expansion: int = 4,
        positions: str = "learned",
    ) -> None:
        checked_heads(dim, heads)
        if type(expansion) is not int or not 1 <= expansion <= MAX_EXPANSION:
            raise ValueError(f"expansion {expansion!r}; expected a whole number from 1 to {MAX_EXPANSION}")
        super().__init__(dim, max_len, [LiGRBlock(dim, heads, expansion) for _ in range(blocks)], positions)
        self.config = {
            "dim": dim,
            "max_len": max_len,
            "blocks": blocks,
            "heads": heads,
            "expansion": expansion,
            "positions": positions,
        }
