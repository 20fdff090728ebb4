"""SASRec (Kang & McAuley 2018, arXiv 1808.09781): causal self-attention over ONE user's sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.models.parts import CausalStack, SelfAttention, checked_heads, dropped


class Block(SelfAttention):
    """Pre-norm self-attention and a pointwise feed-forward layer, each with a residual."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.feed_norm = nn.LayerNorm(dim)
        self.inner = nn.Linear(dim, dim)
        self.outer = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, bias: Tensor, keep: Tensor | None, positions: Tensor | None = None
    ) -> Tensor:
        """x [L, d], or its T ``positions`` alone; bias [T, L] of the logits, keep [2, T, d]: dropout."""
        mixed = self.attend(self.attention_norm(x), bias, positions)  # [T, d]
        x = (x if positions is None else x[positions]) + dropped(mixed, keep, 0)  # [T, d]
        hidden = torch.relu(self.inner(self.feed_norm(x)))  # [T, d]
        return x + dropped(self.outer(hidden), keep, 1)  # [T, d]


class SASRec(CausalStack):
    """Hidden state h_t after each item; the score of item i next is h_t · e_i.

    Sequences are right-aligned: the last item always stands at the last position, so a sequence
    padded to a shorter bucket gives the same hidden states.
    """

    def __init__(self, dim: int = 64, max_len: int = 50, blocks: int = 2, heads: int = 1) -> None:
        checked_heads(dim, heads)
        super().__init__(dim, max_len, [Block(dim, heads) for _ in range(blocks)])
        self.config = {"dim": dim, "max_len": max_len, "blocks": blocks, "heads": heads}
