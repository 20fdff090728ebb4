"""Users that an attacker makes up from the items they like: vectors behind the global item table."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from common.device import add_rows


def fit_users(
    table: Tensor, liked: Tensor, steps: int, rate: float, generator: torch.Generator, spread: float = 0.01
) -> Tensor:
    """User vectors float32 [m, d] by BPR on a fixed item table: ``steps`` of Adam on Σ −log σ(u·e_i − u·e_j).

    liked int64 [m, H]: item numbers, 0 fills up; for each, j is drawn anew in every step from the whole
    catalogue. Start N(0, spread²). BPR: Rendle et al. 2009, arXiv 1205.2618. O(steps·M·d) for M items in all.
    """
    users = spread * torch.randn(len(liked), table.shape[1], generator=generator).to(table)  # [m, d]
    owner = (liked > 0).nonzero()[:, 0]  # [M]: users and their items, without the filling
    items = table[liked[liked > 0]]  # [M, d]
    optimizer = torch.optim.Adam([users], lr=rate)
    for _ in range(steps):
        other = torch.randint(1, len(table), (len(items),), generator=generator).to(table.device)  # [M]
        apart = items - table[other]  # [M, d]
        doubt = torch.sigmoid(-(apart * users[owner]).sum(1))  # [M]; −log σ has the slope −σ(−x)
        users.grad = torch.zeros_like(users)
        add_rows(users.grad, owner, -doubt[:, None] * apart)
        optimizer.step()
    return users


def best_items(users: Tensor, table: Tensor, without: Tensor, count: int) -> Tensor:
    """The items that each user scores highest, best first; none ``without`` (bool [N + 1]).

    Returns int64 [m, count].
    """
    scores = (users @ table.T).masked_fill(without, -torch.inf)  # [m, N + 1]
    return scores.topk(min(count, int((~without).sum())), dim=1).indices


def most_alike(table: Tensor, item: int, without: Tensor, count: int) -> Tensor:
    """The items v of largest cos(e_v, e_item), best first; none ``without`` (bool [N + 1]): int64 [count]."""
    unit = F.normalize(table, dim=1)  # [N + 1, d]
    alike = (unit @ unit[item]).masked_fill(without, -torch.inf)  # [N + 1]
    return alike.topk(min(count, int((~without).sum()))).indices
