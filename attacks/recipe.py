"""The bounds of the sieve as an attacker knows or estimates them.

The recipe is public (docs/method.md) and so is the model, which bounds a row; what a round's medians are is
not, and is guessed from the honest training of own devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from attacks.pushing import TINY, interaction_size
from common.models import largest_interaction
from common.tasks import TrainTask
from common.updates import DeviceUpdates

WITHOUT_A_BOUND = 2.0
"""Of a model whose states have no bound, a row may be so many times the usual interaction."""

ENCODER_SLACK = 2.0
"""An encoder may be so many times as long as usual for as many interactions."""

TOLERANCE, PEERS = 0.06, 0.2
"""Encoders may be so much more alike, over the rounds, than the median device's and its nearest PEERS."""


@dataclass(frozen=True)
class Bounds:
    """size c: of a row; encoder [n]: of each own device's encoder."""

    size: float
    encoder: Tensor


def estimate(updates: DeviceUpdates, task: TrainTask) -> Bounds | None:
    """Bounds after own honest ``updates``; None when all devices are idle."""
    sizes = interaction_size(updates)  # [n]
    if not bool((sizes > 0).any()):
        return None
    usual = float(sizes[sizes > 0].quantile(0.5))
    bound = largest_interaction(task.model_config, task.train_config, task.model.encoder)
    size = WITHOUT_A_BOUND * usual if bound is None else max(float(bound), usual)
    length = updates.row_norms.clamp(max=size).norm(dim=1) / size  # √m_u  [n]
    ratio = updates.encoder.norm(dim=1) / length.clamp(min=TINY)  # ‖D_u‖/√m_u  [n]
    return Bounds(size, ENCODER_SLACK * ratio[sizes > 0].quantile(0.5) * length)


def clipped(rows: Tensor, size: float) -> Tensor:
    """g_ui · min(1, size/‖g_ui‖), rows [n, K, d]: what is in the bound loses nothing to the row clip."""
    norms: Tensor = rows.norm(dim=2, keepdim=True)  # [n, K, 1]
    return rows * (size / norms.clamp(min=TINY)).clamp(max=1)


def normed(products: Tensor) -> Tensor:
    """Cosines from inner products [n, n]."""
    size = products.diagonal().clamp(min=0).sqrt().clamp(min=TINY)  # [n]
    return products / size / size[:, None]


def apart(encoders: Tensor, usual: Tensor) -> Tensor:
    """Cosines of D_u/‖D_u‖ − usual: what is alike beyond what all learn; [n, P], [P] -> [n, n]."""
    rest = F.normalize(encoders, dim=1) - usual  # [n, P]
    return normed(rest @ rest.T)


def nearest(cos: Tensor) -> Tensor:
    """Mean cosine to the nearest ``PEERS`` of the others: [n, n] -> [n], zeros alone."""
    if len(cos) < 2:
        return cos.new_zeros(len(cos))
    others = cos.clone().fill_diagonal_(-1)
    found: Tensor = others.topk(max(1, round(PEERS * (len(cos) - 1))), dim=1).values.mean(1)
    return found
