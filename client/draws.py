"""What a local step draws or reads for each device beside its items: dropout, chance, pauses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from client.regularisers import CHANNELS
from common.data.types import Times


def dropout(generators: Sequence[torch.Generator], shape: tuple[int, ...], drop: float) -> Tensor:
    """Multipliers 0 and 1/(1 − drop): [n, *shape], shape (E, sites, ℓ, d); ones [n, E, sites, 1, 1] if 0."""
    if drop == 0:
        return torch.ones(len(generators), *shape[:2], 1, 1)
    drawn = [torch.rand(shape, generator=one) for one in generators]
    return (torch.stack(drawn) >= drop).float() / (1 - drop)


def noise(generators: Sequence[torch.Generator], steps: int, length: int, wanted: bool) -> Tensor:
    """Uniform [n, E, CHANNELS, ℓ] where a term asks for it, else zeros and nothing is drawn."""
    shape = (steps, CHANNELS, length)
    if not wanted:
        return torch.zeros(1, 1, 1, 1).expand(len(generators), *shape)
    return torch.stack([torch.rand(shape, generator=one) for one in generators])


def gaps(times: Sequence[Times] | None, length: int, devices: int) -> Tensor:
    """Seconds since the item before, right-aligned: [n, ℓ]; ``times`` those of each window, None: zeros.

    The last interaction of a window is only a target, so its time is not read.
    """
    found = torch.zeros(devices, length)
    for row, window in enumerate(times or ()):
        steps = np.diff(window[:-1])
        found[row, length - len(steps) :] = torch.from_numpy(steps)
    return found
