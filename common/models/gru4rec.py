"""GRU4Rec (Hidasi et al. 2016, arXiv 1511.06939): a gated recurrent unit over ONE user's sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.models.parts import dropped


class GRU4Rec(nn.Module):
    """h_t = (1 − z_t)·n_t + z_t·h_{t−1}; the score of item i next is W h_t · e_i.

    z_t = σ(W_z x_t + U_z h_{t−1}), r_t = σ(W_r x_t + U_r h_{t−1}), n_t = tanh(W_n x_t + r_t ∘ U_n h_{t−1}).
    Padding leaves the state as it is, so a right-aligned sequence starts from h_0 = 0.
    """

    def __init__(self, dim: int = 64, max_len: int = 50) -> None:
        super().__init__()
        self.config = {"dim": dim, "max_len": max_len}  # a recurrent model has no positions
        self.input = nn.Linear(dim, 3 * dim)
        self.state = nn.Linear(dim, 3 * dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)
        self.dropout_sites = 2

    def forward(
        self, items: Tensor, padding: Tensor, keep: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """items [L, d] looked-up rows, padding bool [L], keep [sites, L, d] or None -> hidden [T, d].

        positions int64 [T]: those whose state is wanted, by default all.
        """
        length, dim = items.shape
        gates = self.input(dropped(self.norm(items), keep, 0))  # [L, 3d]
        hidden = items.new_zeros(dim)  # [d]
        states = []
        for t in range(length):
            x_z, x_r, x_n = gates[t].split(dim)  # 3 x [d]
            h_z, h_r, h_n = self.state(hidden).split(dim)  # 3 x [d]
            update = torch.sigmoid(x_z + h_z)  # [d]
            new = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)  # [d]
            step = (1 - update) * new + update * hidden  # [d]
            hidden = torch.where(padding[t], hidden, step)  # [d]
            states.append(hidden)
        hidden = dropped(torch.stack(states), keep, 1)  # [L, d]
        return self.output(hidden if positions is None else hidden[positions])  # type: ignore[no-any-return]
