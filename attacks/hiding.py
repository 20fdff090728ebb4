"""Hiding poison in encoders: as much of it as people are alike anyway."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.pushing import TINY
from attacks.recipe import apart, nearest, normed

STEPS = 8
"""How finely a mix is tried."""


def mixed(encoders: Tensor, poison: Tensor, most: float, tolerance: float) -> Tensor:
    """D̄ + (1 − m)(D_u − D̄) + m·‖D_u − D̄‖·P/‖P‖ with the largest m ≤ ``most`` that passes: [n, P].

    encoders [n, P] of own honest training, poison P [P]. It passes while two of them, what all learn taken
    away, are no more alike in the mean than honest devices and their nearest usually are, plus
    ``tolerance``; with a fifth of all devices in the attack, these are the nearest that the sieve looks at.
    """
    n = len(encoders)
    mean = encoders.mean(0) if n > 1 else torch.zeros_like(poison)  # [P]
    usual = F.normalize(encoders, dim=1).mean(0) if n > 1 else mean  # [P]
    rest = encoders - mean  # [n, P]
    size = rest.norm(dim=1, keepdim=True)  # [n, 1]
    limit = nearest(apart(encoders, usual)).quantile(0.5) + tolerance
    # Every encoder that is tried is a sum of these vectors: their inner products are enough to judge it.
    parts = torch.cat([rest, mean[None], F.normalize(poison, dim=0)[None], usual[None]])  # [n + 3, P]
    gram = parts @ parts.T
    for step in range(STEPS, 0, -1):
        share = most * step / STEPS
        own, one = torch.eye(n, device=size.device), torch.ones_like(size)
        found = torch.cat([(1 - share) * own, one, share * size, 0 * one], dim=1)  # [n, n + 3]
        length = ((found @ gram) * found).sum(1, keepdim=True).clamp(min=TINY).sqrt()
        found = found / length
        found[:, -1] -= 1  # less what is usual
        if (normed(found @ gram @ found.T).sum() - n) / max(n * (n - 1), 1) <= limit:
            return mean + torch.lerp(rest, size * parts[n + 1], share)
    return encoders
