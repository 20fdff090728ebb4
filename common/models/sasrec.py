"""SASRec (Kang & McAuley 2018, arXiv 1808.09781): causal self-attention over ONE user's sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def dropped(x: Tensor, keep: Tensor | None, site: int) -> Tensor:
    """x [L, d] times the dropout multipliers of ``site``: keep [sites, L, d], or None for no dropout."""
    return x if keep is None else x * keep[site]


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

    def forward(
        self, x: Tensor, bias: Tensor, keep: Tensor | None, positions: Tensor | None = None
    ) -> Tensor:
        """x [L, d], or its T ``positions`` alone; bias [T, L] of the logits, keep [2, T, d]: dropout."""
        mixed = self.attend(self.attention_norm(x), bias, positions)  # [T, d]
        x = (x if positions is None else x[positions]) + dropped(mixed, keep, 0)  # [T, d]
        hidden = torch.relu(self.inner(self.feed_norm(x)))  # [T, d]
        return x + dropped(self.outer(hidden), keep, 1)  # [T, d]

    def attend(self, x: Tensor, bias: Tensor, positions: Tensor | None) -> Tensor:
        """softmax(QKᵀ/√d_h + bias)V, written out: the fused kernel has no batching rule under vmap."""
        wanted, size = len(bias), x.shape[1] // self.heads
        q = self.query(x if positions is None else x[positions]).view(wanted, self.heads, size)  # [T, H, d/H]
        k = self.key(x).view(-1, self.heads, size).permute(1, 2, 0)  # [H, d/H, L]
        v = self.value(x).view(-1, self.heads, size).transpose(0, 1)  # [H, L, d/H]
        logits = q.transpose(0, 1) @ k / math.sqrt(size) + bias  # [H, T, L]
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

    def state_length(self, named: Mapping[str, Tensor], directions: Tensor) -> Tensor:
        """The length s of the state that points along each unit vector v [m, d]: [m].

        h = γ ∘ z + β with ‖z‖ = √d, as the last LayerNorm makes it, so s is the root of ‖(s·v − β)/γ‖² = d.
        0 where no state points that way.
        """
        scale, shift = named["norm.weight"], named["norm.bias"]  # γ, β [d]
        inverse = 1 / scale.square().clamp(min=1e-6)  # [d]
        a = directions.square() @ inverse  # [m]
        b = directions @ (shift * inverse)  # [m]
        c = shift.square() @ inverse - len(scale)  # 0-d
        length: Tensor = (b + (b.square() - a * c).clamp(min=0).sqrt()) / a
        return length.clamp(min=0)

    def forward(
        self, items: Tensor, padding: Tensor, keep: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """items [L, d] looked-up rows, padding bool [L], keep [sites, L, d] or None -> hidden [T, d].

        positions int64 [T]: whose states are wanted, by default all; the last block leaves out the others.
        """
        length, dim = items.shape
        x = dropped(items * math.sqrt(dim) + self.position[-length:], keep, 0)  # [L, d]
        earlier = torch.ones(length, length, dtype=torch.bool, device=items.device).tril()  # [L, L]
        itself = torch.eye(length, dtype=torch.bool, device=items.device)  # [L, L]
        # A padded position may see itself, so that no softmax runs over nothing.
        allowed = earlier & ~padding | itself  # [L, L]
        bias = torch.zeros_like(allowed, dtype=items.dtype).masked_fill(~allowed, -1e9)  # [L, L]
        *before, last = self.blocks
        for number, block in enumerate(before):
            x = block(x, bias, None if keep is None else keep[1 + 2 * number : 3 + 2 * number])  # [L, d]
        of_last = None if keep is None else keep[-2:]  # [2, L, d]
        if positions is not None:
            bias, of_last = bias[positions], None if of_last is None else of_last[:, positions]
        return self.norm(last(x, bias, of_last, positions))  # type: ignore[no-any-return]
