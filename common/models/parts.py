"""What several models are made of: attention, a feed-forward layer, and how long a state may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEVER = -1e9
"""Added to a logit that must not count."""

POSITIONS = ("learned", "none")
MAX_EXPANSION = 4
"""Of the inner width of a feed-forward layer, as a multiple of d (see common.config.most_parameters)."""


def dropped(x: Tensor, keep: Tensor | None, site: int) -> Tensor:
    """x [L, d] times the dropout multipliers of ``site``: keep [sites, L, d], or None for no dropout."""
    return x if keep is None else x * keep[site]


def at(keep: Tensor | None, positions: Tensor) -> Tensor | None:
    """The multipliers [sites, T, d] of these positions; those [sites, 1, 1] of all are as they were."""
    return keep if keep is None or keep.shape[1] == 1 else keep[:, positions]


def causal(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the logit of key s at query t: 0, or NEVER for a later item or padding. [L, L]"""
    length = len(padding)
    earlier = torch.ones(length, length, dtype=torch.bool, device=padding.device).tril()  # [L, L]
    itself = torch.eye(length, dtype=torch.bool, device=padding.device)  # [L, L]
    # A padded position may see itself, so that no softmax runs over nothing.
    allowed = earlier & ~padding | itself  # [L, L]
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, NEVER)


def checked_heads(dim: int, heads: int) -> None:
    """Raises ValueError."""
    if dim % heads:
        raise ValueError(f"model.dim ({dim}) must be a multiple of model.heads ({heads})")


def checked_positions(positions: str) -> None:
    """Raises ValueError."""
    if positions not in POSITIONS:
        raise ValueError(f"positions {positions!r}; valid: {', '.join(POSITIONS)}")


class EndsInNorm(nn.Module):
    """A model whose last operation is the LayerNorm called ``last_norm``."""

    last_norm = "norm"

    def state_length(self, named: Mapping[str, Tensor], directions: Tensor) -> Tensor:
        """The length s of the state that points along each unit vector v [m, d]: [m].

        h = γ ∘ z + β with ‖z‖ = √d, as the last LayerNorm makes it, so s is the root of ‖(s·v − β)/γ‖² = d.
        0 where no state points that way.
        """
        scale, shift = named[f"{self.last_norm}.weight"], named[f"{self.last_norm}.bias"]  # γ, β [d]
        inverse = 1 / scale.square().clamp(min=1e-6)  # [d]
        a = directions.square() @ inverse  # [m]
        b = directions @ (shift * inverse)  # [m]
        c = shift.square() @ inverse - len(scale)  # 0-d
        length: Tensor = (b + (b.square() - a * c).clamp(min=0).sqrt()) / a
        return length.clamp(min=0)


class SelfAttention(nn.Module):
    """Weights of softmax attention with H heads; a norm stands before or after it, as the model says."""

    sites = 2
    """Places of a block that take dropout multipliers."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        # A key bias shifts all logits of a query alike: its gradient is zero up to rounding.
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim)

    def attend(self, x: Tensor, bias: Tensor, positions: Tensor | None) -> Tensor:
        """softmax(QKᵀ/√d_h + bias)V, written out: the fused kernel has no batching rule under vmap."""
        wanted, size = len(bias), x.shape[1] // self.heads
        q = self.query(x if positions is None else x[positions]).view(wanted, self.heads, size)  # [T, H, d/H]
        k = self.key(x).view(-1, self.heads, size).permute(1, 2, 0)  # [H, d/H, L]
        v = self.value(x).view(-1, self.heads, size).transpose(0, 1)  # [H, L, d/H]
        logits = q.transpose(0, 1) @ k / math.sqrt(size) + bias  # [H, T, L]
        mixed = torch.softmax(logits, dim=-1) @ v  # [H, T, d/H]
        return self.output(mixed.transpose(0, 1).reshape(wanted, -1))  # type: ignore[no-any-return]


class CausalStack(EndsInNorm):
    """Blocks over x_t = √d·e_t + p_t, and a LayerNorm: what SASRec, eSASRec and HSTU have in common.

    A block takes (x [L, d], bias [T, L], keep [sites, T, d], positions) and gives [T, d]. What is added to
    its logits may also depend on when items were (:meth:`biases`).
    """

    def __init__(
        self, dim: int, max_len: int, blocks: Sequence[nn.Module], positions: str = "learned"
    ) -> None:
        super().__init__()
        checked_positions(positions)
        self.position = nn.Parameter(torch.zeros(max_len, dim)) if positions == "learned" else None
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim)
        self.sites = int(blocks[0].sites)  # type: ignore[arg-type]
        self.dropout_sites = 1 + self.sites * len(blocks)

    def biases(self, padding: Tensor, gaps: Tensor | None, dtype: torch.dtype) -> list[Tensor]:
        """What each block adds to its logits [L, L]: see :func:`causal`."""
        return [causal(padding, dtype)] * len(self.blocks)

    def forward(
        self,
        items: Tensor,
        padding: Tensor,
        keep: Tensor | None = None,
        positions: Tensor | None = None,
        gaps: Tensor | None = None,
    ) -> Tensor:
        """items [L, d] looked-up rows, padding bool [L], keep [sites, L, d] or None -> hidden [T, d].

        positions int64 [T]: whose states are wanted, by default all; the last block leaves out the others.
        gaps [L]: seconds since the item before, for a model that reads them.
        """
        length, dim = items.shape
        x = items * math.sqrt(dim)  # [L, d]
        x = dropped(x if self.position is None else x + self.position[-length:], keep, 0)  # [L, d]
        biases = self.biases(padding, gaps, items.dtype)  # B x [L, L]
        *before, last = self.blocks
        for number, block in enumerate(before):
            first = 1 + self.sites * number
            x = block(x, biases[number], None if keep is None else keep[first : first + self.sites])  # [L, d]
        of_last = None if keep is None else keep[-self.sites :]  # [sites, L, d]
        bias = biases[-1]
        if positions is not None:
            bias, of_last = bias[positions], at(of_last, positions)
        return self.norm(last(x, bias, of_last, positions))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """LN(x + dropout(W_2·GELU(W_1·x + b_1) + b_2)) with an inner width of 4d."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, 4 * dim)
        self.outer = nn.Linear(4 * dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, keep: Tensor | None, site: int) -> Tensor:
        """x [T, d] -> [T, d]."""
        return self.norm(x + dropped(self.outer(F.gelu(self.inner(x))), keep, site))  # type: ignore[no-any-return]


class MixerBlock(nn.Module):
    """x ← LN(x + dropout(mixer(x))), then :class:`FeedForward`; ``mixer`` takes (x [L, d], padding [L])."""

    def __init__(self, dim: int, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer
        self.mixer_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim)

    def forward(
        self, x: Tensor, padding: Tensor, keep: Tensor | None, positions: Tensor | None = None
    ) -> Tensor:
        """x [L, d], keep [2, L, d] -> [T, d]."""
        mixed = self.mixer(x, padding)  # [L, d]
        if positions is not None:
            x, mixed, keep = x[positions], mixed[positions], at(keep, positions)  # [T, d]
        return self.feed(self.mixer_norm(x + dropped(mixed, keep, 0)), keep, 1)  # type: ignore[no-any-return]


class MixerStack(EndsInNorm):
    """Mixer blocks over LN(e_t + p_t): what models without attention have in common."""

    def __init__(self, dim: int, max_len: int, mixers: Sequence[nn.Module], positions: str) -> None:
        super().__init__()
        checked_positions(positions)
        self.position = nn.Parameter(torch.zeros(max_len, dim)) if positions == "learned" else None
        self.norm = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(MixerBlock(dim, mixer) for mixer in mixers)
        self.last_norm = f"blocks.{len(mixers) - 1}.feed.norm"
        self.dropout_sites = 1 + 2 * len(mixers)

    def forward(
        self, items: Tensor, padding: Tensor, keep: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """items [L, d] looked-up rows, padding bool [L], keep [sites, L, d] or None -> hidden [T, d].

        positions int64 [T]: whose states are wanted, by default all.
        """
        x = items if self.position is None else items + self.position[-len(items) :]  # [L, d]
        x = dropped(self.norm(x), keep, 0)  # [L, d]
        for number, block in enumerate(self.blocks):
            of_block = None if keep is None else keep[1 + 2 * number : 3 + 2 * number]  # [2, L, d]
            x = block(x, padding, of_block, positions if number == len(self.blocks) - 1 else None)
        return x
