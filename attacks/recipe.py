"""The bounds of the sieve as an attacker estimates them, from the honest training of its own devices.

The recipe is public (docs/method.md); what a round's medians are is not, and is guessed from own devices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.pushing import TINY, interaction_size
from common.updates import DeviceUpdates

ROW_SLACK = 1.25
"""Row blocks may be this much longer than the median one."""

COLLUSION, FLOOR, SPREAD = 4.0, 0.3, 8.0
"""Two row blocks may be as alike as the median pair and max(FLOOR, SPREAD · MAD) more."""

FOLD = 4096
"""Row blocks are folded to so many values, with drawn signs, before they are compared."""

TOLERANCE, PEERS = 0.06, 0.2
"""Encoders may be so much more alike, over the rounds, than the median device's and its nearest PEERS."""


@dataclass(frozen=True)
class Bounds:
    """c, the size of one interaction; the longest row block and encoder; what alike means."""

    size: float
    rows: float
    encoder: float
    centre: float
    width: float


def estimate(updates: DeviceUpdates) -> Bounds | None:
    """Bounds after own honest ``updates``; None when all devices are idle."""
    working = updates.rows.flatten(1).any(dim=1)  # [n]
    if not bool(working.any()):
        return None
    busy = updates if bool(working.all()) else updates.take(working.nonzero().flatten())
    size = float(interaction_size(busy).quantile(0.5))
    blocks = clipped(busy.rows, size).flatten(1)  # [m, K·d]
    centre, width = alikeness(cosines(blocks))
    return Bounds(
        size=size,
        rows=ROW_SLACK * float(blocks.norm(dim=1).quantile(0.5)),
        encoder=float(busy.encoder.norm(dim=1).quantile(0.5)),
        centre=centre,
        width=width,
    )


def clipped(rows: Tensor, size: float) -> Tensor:
    """g_ui · min(1, size/‖g_ui‖), rows [n, K, d]: what is in the bound loses nothing to the row clip."""
    norms: Tensor = rows.norm(dim=2, keepdim=True)  # [n, K, 1]
    return rows * (size / norms.clamp(min=TINY)).clamp(max=1)


def cosines(blocks: Tensor) -> Tensor:
    """[n, D] -> [n, n]."""
    return normed(blocks @ blocks.T)


def normed(products: Tensor) -> Tensor:
    """Cosines from inner products [n, n]."""
    size = products.diagonal().clamp(min=0).sqrt().clamp(min=TINY)  # [n]
    return products / size / size[:, None]


def apart(encoders: Tensor, usual: Tensor) -> Tensor:
    """Cosines of D_u/‖D_u‖ − usual: what is alike beyond what all learn; [n, P], [P] -> [n, n]."""
    return cosines(F.normalize(encoders, dim=1) - usual)


def nearest(cos: Tensor) -> Tensor:
    """Mean cosine to the nearest ``PEERS`` of the others: [n, n] -> [n], zeros alone."""
    if len(cos) < 2:
        return cos.new_zeros(len(cos))
    others = cos.clone().fill_diagonal_(-1)
    found: Tensor = others.topk(max(1, round(PEERS * (len(cos) - 1))), dim=1).values.mean(1)
    return found


def alikeness(cos: Tensor) -> tuple[float, float]:
    """Median of the cosines of pairs [n, n], and how far above it a pair is called alike; 0 and 1 alone."""
    n = len(cos)
    if n < 2:
        return 0.0, 1.0
    pairs = cos[~torch.eye(n, dtype=torch.bool, device=cos.device)]
    centre = pairs.median()
    return float(centre), max(FLOOR, SPREAD * float((pairs - centre).abs().median()))


def collusion_weight(cos: Tensor, bounds: Bounds) -> Tensor:
    """(1 + 4 Σ_v relu((cos_uv − centre)/width − 1))⁻² -> [n]."""
    excess = torch.relu((cos - bounds.centre) / bounds.width - 1).fill_diagonal_(0)
    weight: Tensor = (1 + COLLUSION * excess.sum(1)) ** -2
    return weight
