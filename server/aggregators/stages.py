"""The stages of the sieve, each a pure function of one round's tensors.

Notation: n devices, K rows of the slice; g_ui [d] is device u's update of row i.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.models import Lengths
from common.updates import STRONG, interaction_sizes
from server.aggregators.gram import middle

TINY = 1e-12
RETENTION_POWER = 6
"""How fast a device loses weight with what it lost to the clip."""

FEW = 16
"""Devices whose rows are scaled at a time: they stay in the cache."""


def interaction_size(norms: Tensor) -> Tensor:
    """c = median_u (Σ_i ‖g_ui‖⁴ / Σ_i ‖g_ui‖²)^½: about the size of one interaction; norms [n, K] -> 0-d."""
    return middle(interaction_sizes(norms)).float()


def row_limits(rows: Tensor, norms: Tensor, interaction: Lengths | None) -> Tensor:
    """c_ui, the most that one interaction moves row i in the direction of g_ui: [n, K, d], [n, K] -> [n, K].

    Without a bound of the model twice the usual size of an interaction. Rows of less than half the usual one
    are let alone: their limit is the usual size.
    """
    usual = interaction_size(norms)
    if interaction is None:
        return (2 * usual).expand_as(norms)
    strong = norms > STRONG * usual  # [n, K], few of them
    limits = usual.expand_as(norms).clone()
    limits[strong] = interaction(rows[strong] / norms[strong, None])
    return limits


def row_clip(norms: Tensor, limits: Tensor) -> Tensor:
    """f_ui = min(1, limit_ui/‖g_ui‖), by which rows are scaled; norms, limits [n, K] -> [n, K]."""
    return (limits / norms.clamp_min(TINY)).clamp(max=1.0)


def scaled_sum(rows: Tensor, scales: Tensor) -> Tensor:
    """Σ_u s_ui g_ui: rows [n, K, d], scales [n, K] -> [K, d]; without a scaled copy of all rows."""
    total = torch.zeros_like(rows[0])
    for some, scale in zip(torch.split(rows, FEW), torch.split(scales, FEW), strict=True):
        total += (some * scale[:, :, None]).sum(0)
    return total


def retention(norms: Tensor, factors: Tensor) -> Tensor:
    """rt_u = ‖R_u clipped‖ / ‖R_u‖ over its median, at most 1; norms, factors [n, K] -> float64 [n].

    A device that puts its weight on few rows loses most of it to the row clip; an honest one spreads
    it over its interactions and keeps nearly all.
    """
    before = norms.double().norm(dim=1)  # [n]
    after = (norms * factors).double().norm(dim=1)  # [n]
    kept = torch.where(before > TINY, after / before.clamp_min(TINY), 1.0)
    return (kept / middle(kept).clamp_min(TINY)).clamp(max=1.0)


def retention_weight(kept: Tensor, threshold: float) -> Tensor:
    """w_u = min(1, rt_u/threshold)⁶ -> [n]; 1 for all with a threshold of 0."""
    return (kept / threshold).clamp(max=1.0) ** RETENTION_POWER if threshold else torch.ones_like(kept)


def norm_factor(norms: Tensor, slack: float) -> Tensor:
    """min(1, slack · median / ‖block_u‖) from block norms [n] -> [n]."""
    return (slack * middle(norms) / norms.clamp_min(TINY)).clamp(max=1.0)
