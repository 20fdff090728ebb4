"""What a device does to its update before it leaves: clip and add noise (optional)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from common.updates import DeviceUpdates


def protect(
    updates: DeviceUpdates, clip: float, noise: float, generators: list[torch.Generator]
) -> DeviceUpdates:
    """Each whole update u becomes u·min(1, C/‖u‖₂) + N(0, (σC)²I): the local Gaussian mechanism.

    C is ``clip`` (0 switches both off), σ is ``noise``. ‖u‖ runs over encoder and rows together, so
    C is the L2 sensitivity of one device (Geyer et al. 2017, arXiv 1712.07557). With
    ``negatives: device`` the noise lands on touched rows only: which rows those are is not hidden.
    """
    if clip <= 0:
        return updates
    norm = (updates.encoder.square().sum(1) + updates.rows.square().sum((1, 2))).sqrt()  # [n]
    factor = (clip / norm.clamp(min=torch.finfo(torch.float32).tiny)).clamp(max=1.0)  # [n]
    encoder = updates.encoder * factor[:, None]  # [n, P]
    rows = updates.rows * factor[:, None, None]  # [n, K, d]
    if noise > 0:
        encoder = encoder + noise * clip * _normal(encoder, generators)
        row_noise = noise * clip * _normal(rows, generators)
        if updates.touched is not None:
            row_noise = row_noise * updates.touched[:, :, None]
        rows = rows + row_noise
    return replace(updates, encoder=encoder, rows=rows)


def _normal(like: Tensor, generators: list[torch.Generator]) -> Tensor:
    return torch.stack([torch.randn(like.shape[1:], generator=gen) for gen in generators])
