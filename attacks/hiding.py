"""Hiding one row that many devices push alike: other rows beside it, and a direction of each device's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.pushing import TINY
from attacks.recipe import FOLD, Bounds, apart, collusion_weight, nearest, normed
from common.seeding import generator

STEPS = 8
"""How finely a mix is tried."""

JITTERS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)


def add_decoys(
    rows: Tensor,
    free: Tensor,
    users: Tensor,
    most: int,
    room: float,
    size: float,
    own: Sequence[torch.Generator],
) -> None:
    """Move up to ``most`` weak rows of each device by ``size`` towards its own user, in place.

    As an honest interaction with them would. rows [m, K, d]; free bool [m, K] says which may move; users
    [m, d]; a device adds no more than its squared block norm may grow to ``room``, and draws from its own
    generator: nodes that share a seed must not choose alike.
    """
    square = rows.square().sum(2)  # [m, K]
    weak = free & (square < (size / 2) ** 2)
    drawn = torch.stack([torch.rand(rows.shape[1], generator=one) for one in own]).to(rows)  # [m, K]
    order = (drawn * weak).argsort(dim=1, descending=True)
    spare = ((room - square.sum(1)) / size**2).floor().clamp(0, most)  # [m]
    number = torch.minimum(spare, weak.sum(1)).long()
    for device, count in enumerate(number.tolist()):
        rows[device, order[device, :count]] = size * F.normalize(users[device], dim=0)


def best_forward(rows: Tensor, mean: Tensor, aside: Tensor, targets: int, bounds: Bounds) -> float:
    """√(1 − j²) of the jitter j that brings most: the share that goes forward times the weight it keeps.

    rows [m, K, d] without those of the targets, which then get c·(√(1 − j²)·mean + j·aside) each; mean
    [d], aside [m, d].
    """
    blocks = rows.flatten(1)
    others = blocks @ blocks.T  # [m, m]
    best, most = 1.0, -1.0
    for jitter in JITTERS:
        forward = (1 - jitter**2) ** 0.5
        towards = bounds.size * (forward * mean + jitter * aside)  # [m, d]
        products = others + targets * towards @ towards.T
        size = products.diagonal().sqrt()
        gain = forward * float(collusion_weight(products / size / size[:, None], bounds).mean())
        if gain > most:
            best, most = forward, gain
    return best


def drawn_signs(seed: int, round_: int, shape: torch.Size) -> Tensor:
    """±1 of ``shape`` [K, d], as the sieve would draw them if its secret were the run's ``seed``."""
    draw = generator(seed, "aggregator", round_)
    return (torch.randint(0, 2, (shape.numel(),), generator=draw) * 2 - 1).float().view(shape)


def cancelled(rows: Tensor, targets: Sequence[int], signs: Tensor) -> Tensor:
    """``rows`` [m, K, d] with a row r_k = −s_k ⊙ s_t ⊙ r_t for each target t, signs s [K, d].

    k is a row that is folded onto the same place as t; devices take different ones by turns. Whoever adds up
    s ⊙ r over what is folded together finds nothing of the targets.
    """
    count, dim = rows.shape[1:]
    rows, used = rows.clone(), set(targets)
    for target in targets:
        place = target * dim % FOLD
        same = [k for k in range(count) if k not in used and k * dim % FOLD == place]
        for device in range(len(rows) if same else 0):
            k = same[device % len(same)]
            rows[device, k] = -signs[k] * signs[target] * rows[device, target]
    return rows


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
