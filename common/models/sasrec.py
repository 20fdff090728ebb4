"""SASRec (Kang & McAuley 2018, arXiv 1808.09781): causal self-attention over ONE user's sequence."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Pre-norm self-attention and a pointwise feed-forward layer, each with a residual."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        # A key bias shifts all logits of a query alike: its gradient is zero up to rounding.
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.inner = nn.Linear(dim, dim)
        self.outer = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor, keep: tuple[Tensor, Tensor]) -> Tensor:
        """The last T of x [L, d]; bias [T, L] is added to the logits, keep: dropout multipliers [T, d]."""
        x = x[-len(bias) :] + keep[0] * self.attend(self.attention_norm(x), bias)  # [T, d]
        hidden = torch.relu(self.inner(self.feed_norm(x)))  # [T, d]
        out: Tensor = x + keep[1] * self.outer(hidden)  # [T, d]
        return out

    def attend(self, x: Tensor, bias: Tensor) -> Tensor:
        """softmax(QKᵀ/√d_h + bias)V, written out: the fused kernel has no batching rule under vmap."""
        wanted, size = len(bias), x.shape[1] // self.heads
        q = self.query(x[-wanted:]).reshape(wanted, self.heads, size).transpose(0, 1)  # [H, T, d/H]
        k = self.key(x).reshape(len(x), self.heads, size).transpose(0, 1)  # [H, L, d/H]
        v = self.value(x).reshape(len(x), self.heads, size).transpose(0, 1)  # [H, L, d/H]
        logits = q @ k.transpose(1, 2) / math.sqrt(size) + bias  # [H, T, L]
        mixed = torch.softmax(logits, dim=-1) @ v  # [H, T, d/H]
        return self.output(mixed.transpose(0, 1).reshape(wanted, -1))  # type: ignore[no-any-return]


class SASRec(nn.Module):
    """Hidden state h_t after each item; the score of item i next is h_t · e_i.

    Sequences are right-aligned: the last item always stands at the last position, so a sequence
    padded to a shorter bucket gives the same hidden states.
    """

    def __init__(self, dim: int = 64, max_len: int = 50, blocks: int = 2, heads: int = 1) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"model.dim ({dim}) must be a multiple of model.heads ({heads})")
        self.config = {"dim": dim, "max_len": max_len, "blocks": blocks, "heads": heads}
        self.position = nn.Parameter(torch.zeros(max_len, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)
        self.dropout_sites = 1 + 2 * blocks

    def forward(
        self, items: Tensor, padding: Tensor, keep: Tensor | None = None, wanted: int | None = None
    ) -> Tensor:
        """items [L, d] looked-up rows, padding bool [L], keep [sites, L, d] or None -> hidden [T, d].

        T, ``wanted``: how many of the last positions, by default all; the last block leaves out the others.
        Without dropout only.
        """
        length, dim = items.shape
        if keep is None:
            keep = items.new_ones(self.dropout_sites, 1, 1)
        x = keep[0] * (items * math.sqrt(dim) + self.position[-length:])  # [L, d]
        earlier = torch.ones(length, length, dtype=torch.bool, device=items.device).tril()  # [L, L]
        itself = torch.eye(length, dtype=torch.bool, device=items.device)  # [L, L]
        # A padded position may see itself, so that no softmax runs over nothing.
        allowed = earlier & ~padding | itself  # [L, L]
        bias = torch.zeros_like(allowed, dtype=items.dtype).masked_fill(~allowed, -1e9)  # [L, L]
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            rows = bias if wanted is None or number < last else bias[-wanted:]  # [L or T, L]
            x = block(x, rows, (keep[1 + 2 * number], keep[2 + 2 * number]))  # [L or T, d]
        return self.norm(x)  # type: ignore[no-any-return]
