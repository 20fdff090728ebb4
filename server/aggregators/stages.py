"""The stages of the sieve, each a pure function of one round's tensors.

Notation: n devices, K rows of the slice; g_ui [d] is device u's update of row i.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.updates import interaction_sizes
from server.aggregators.gram import middle
from server.aggregators.sketch import FEW

TINY = 1e-12


def interaction_size(norms: Tensor) -> Tensor:
    """c = median_u (Σ_i ‖g_ui‖⁴ / Σ_i ‖g_ui‖²)^½: about the size of one interaction; norms [n, K] -> 0-d."""
    return middle(interaction_sizes(norms)).float()


def row_clip(norms: Tensor, limit: Tensor) -> Tensor:
    """f_ui = min(1, limit/‖g_ui‖), by which rows are scaled; norms [n, K] -> [n, K]."""
    return (limit / norms.clamp_min(TINY)).clamp(max=1.0)


def scaled_sum(rows: Tensor, scales: Tensor) -> Tensor:
    """Σ_u s_ui g_ui: rows [n, K, d], scales [n, K] -> [K, d]; without a scaled copy of all rows."""
    total = torch.zeros_like(rows[0])
    for some, scale in zip(torch.split(rows, FEW), torch.split(scales, FEW), strict=True):
        total += (some * scale[:, :, None]).sum(0)
    return total


def retention(norms: Tensor, factors: Tensor) -> Tensor:
    """rt_u = ‖R_u clipped‖ / ‖R_u‖: norms, factors [n, K] -> float64 [n]; 1 without rows.

    A device that puts its weight on few rows loses most of it to the row clip; an honest one spreads
    it over its interactions and keeps nearly all.
    """
    before = norms.double().norm(dim=1)  # [n]
    after = (norms * factors).double().norm(dim=1)  # [n]
    return torch.where(before > TINY, after / before.clamp_min(TINY), 1.0)


def retention_weight(kept: Tensor, threshold: float, power: float) -> Tensor:
    """w_u = min(1, rt_u/threshold)^power -> [n]."""
    return (kept / threshold).clamp(max=1.0) ** power


def norm_factor(norms: Tensor, slack: float) -> Tensor:
    """min(1, slack · median / ‖block_u‖) from block norms [n] -> [n]."""
    return (slack * middle(norms) / norms.clamp_min(TINY)).clamp(max=1.0)
