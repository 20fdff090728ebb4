"""BERT4Rec (Sun et al. 2019, arXiv 1904.06690): attention to both sides over ONE user's sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from common.models.parts import NEVER, EndsInNorm, FeedForward, SelfAttention, at, checked_heads, dropped


class PostNormBlock(SelfAttention):
    """a = LN(x + dropout(MHA(x))), then LN(a + dropout(FFN(a))), every token seeing every other."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.feed = FeedForward(dim)

    def forward(
        self, x: Tensor, bias: Tensor, keep: Tensor | None, positions: Tensor | None = None
    ) -> Tensor:
        """x [S, d], or its T ``positions`` alone; bias [T, S] of the logits, keep [2, T, d]: dropout."""
        mixed = dropped(self.attend(x, bias, positions), keep, 0)  # [T, d]
        x = self.attention_norm((x if positions is None else x[positions]) + mixed)  # [T, d]
        return self.feed(x, keep, 1)  # type: ignore[no-any-return]


class BERT4Rec(EndsInNorm):
    """h = LN(GELU(W·z + b)) with z of a [MASK] token; the score of an item there is h · e_i.

    It learns by cloze: the device hides a share ``cloze`` of its items, and the one after its last, and the
    loss is at those (``masked``). Asked for the next item it is given [MASK] after the last one. The state
    after an earlier item t is made in the same way from items 1 to t alone, one pass each. The paper's
    bias of each item is left out: a score is an inner product in all of this project.
    """

    def __init__(
        self, dim: int = 64, max_len: int = 50, blocks: int = 2, heads: int = 1, cloze: float = 0.2
    ) -> None:
        super().__init__()
        checked_heads(dim, heads)
        if not 0 < cloze < 1:
            raise ValueError(f"cloze {cloze!r}; expected a share between 0 and 1")
        self.config = {"dim": dim, "max_len": max_len, "blocks": blocks, "heads": heads, "cloze": cloze}
        self.cloze = cloze
        self.mask = nn.Parameter(torch.zeros(1, dim))
        self.position = nn.Parameter(torch.zeros(max_len + 1, dim))
        self.input_norm = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(PostNormBlock(dim, heads) for _ in range(blocks))
        self.output = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout_sites = 1 + 2 * blocks

    def forward(
        self,
        items: Tensor,
        padding: Tensor,
        keep: Tensor | None = None,
        positions: Tensor | None = None,
        masked: Tensor | None = None,
    ) -> Tensor:
        """items [L, d] looked-up rows, padding bool [L], keep [sites, L, d] or None -> hidden [T, d].

        positions int64 [T]: whose states are wanted, by default all. masked bool [L]: items that are hidden;
        then one pass gives state t of what stands at t + 1, with all that is not hidden on both sides.
        """
        length = len(items)
        wanted = torch.arange(length, device=items.device) if positions is None else positions  # [T]
        beyond = torch.zeros(1, dtype=torch.bool, device=items.device)
        absent = torch.cat([padding, beyond])  # [L + 1]
        if masked is not None:
            return self._encode(items, torch.cat([masked, ~beyond]), absent, keep, wanted)
        token = torch.arange(length + 1, device=items.device)  # [L + 1]

        def after(position: Tensor) -> Tensor:
            hidden, later = token == position + 1, token > position + 1  # [L + 1]
            return self._encode(items, hidden, absent | later, keep, position[None])[0]  # [d]

        return after(wanted[0])[None] if len(wanted) == 1 else vmap(after)(wanted)

    def _encode(
        self, items: Tensor, hidden: Tensor, absent: Tensor, keep: Tensor | None, positions: Tensor
    ) -> Tensor:
        """States [T, d] of the tokens at ``positions`` + 1, of S = L + 1: items [L, d] and one beyond them.

        hidden [S]: tokens that are [MASK]; absent [S]: those that nobody sees. Token 0 drops like token 1.
        """
        if keep is not None and keep.shape[1] > 1:
            keep = torch.cat([keep[:, :1], keep], dim=1)  # [sites, S, d]
        rows = torch.cat([items, torch.zeros_like(items[:1])])  # [S, d]
        x = torch.where(hidden[:, None], self.mask, rows) + self.position[-len(rows) :]  # [S, d]
        x = dropped(self.input_norm(x), keep, 0)  # [S, d]
        itself = torch.eye(len(rows), dtype=torch.bool, device=items.device)  # [S, S]
        bias = torch.zeros_like(x[:, :1]).expand(-1, len(rows)).masked_fill(absent & ~itself, NEVER)  # [S, S]
        *before, last = self.blocks
        for number, block in enumerate(before):
            x = block(x, bias, None if keep is None else keep[1 + 2 * number : 3 + 2 * number])  # [S, d]
        tokens = positions + 1  # [T]
        of_last = at(None if keep is None else keep[-2:], tokens)  # [2, T, d]
        z = last(x, bias[tokens], of_last, tokens)  # [T, d]
        return self.norm(F.gelu(self.output(z)))  # type: ignore[no-any-return]
