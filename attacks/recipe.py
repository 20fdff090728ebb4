"""The bounds of the sieve as an attacker knows or estimates them.

The recipe is public (docs/method.md) and so is the model, which bounds a row; what a round's medians are is
not, and is guessed from the honest training of own devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from attacks.pushing import TINY, interaction_size
from common.models import Lengths, interaction_length
from common.tasks import TrainTask
from common.updates import DeviceUpdates

ROW_SLACK = 1.25
"""A row may move so many times as far as one interaction moves it at most."""

ENCODER_SLACK = 2.0
"""An encoder may be so many times as long as usual for as many interactions."""

TOLERANCE, PEERS = 0.06, 0.2
"""Encoders may be so much more alike, over the rounds, than the median device's and its nearest PEERS."""


@dataclass(frozen=True)
class Bounds:
    """most: how far a row may move along unit vectors [m, d] -> [m]; encoder [n]: how long each may be."""

    most: Lengths
    encoder: Tensor


def estimate(updates: DeviceUpdates, task: TrainTask) -> Bounds | None:
    """Bounds after own honest ``updates``; None when all devices are idle."""
    sizes = interaction_size(updates)  # [n]
    if not bool((sizes > 0).any()):
        return None
    usual = sizes[sizes > 0].quantile(0.5)
    of_model = interaction_length(task.model_config, task.train_config, task.model.encoder)

    def most(directions: Tensor) -> Tensor:
        once = (2 * usual).expand(len(directions)) if of_model is None else of_model(directions)  # [m]
        return ROW_SLACK * once

    length = updates.row_norms.norm(dim=1)  # ‖R_u‖  [n]
    ratio = updates.encoder.norm(dim=1) / length.clamp(min=TINY)  # ‖D_u‖/‖R_u‖  [n]
    return Bounds(most, ENCODER_SLACK * ratio[sizes > 0].quantile(0.5) * length)


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
