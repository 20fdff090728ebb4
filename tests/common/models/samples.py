"""Models with no parameter at a neutral value, and random sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common.config import ModelConfig
from common.models import MODELS, build_model

DIM, MAX_LEN = 8, 10
NAMES = sorted(MODELS)


def build(name: str, seed: int = 0, **changes: Any) -> nn.Module:
    """The model with every parameter drawn, so that a mistake cannot hide behind a zero or a one."""
    settings = {"name": name, "dim": DIM, "max_len": MAX_LEN, "blocks": 2, "heads": 2} | changes
    model = build_model(ModelConfig.model_validate(settings))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=g))
            if parameter.dim() == 1:
                parameter.add_(0.7)
    return model


def sequence(length: int, seed: int = 0, dim: int = DIM) -> Tensor:
    """Item rows [L, d]."""
    return torch.randn(length, dim, generator=torch.Generator().manual_seed(seed))


def nothing(length: int) -> Tensor:
    """No padding: bool [L]."""
    return torch.zeros(length, dtype=torch.bool)


def padded(items: Tensor, length: int, filler: float = 0.0) -> tuple[Tensor, Tensor]:
    """(items [ℓ, d], padding [ℓ]) with the sequence on the right and ``filler`` on the left."""
    spare = length - len(items)
    rows = torch.cat([torch.full((spare, items.shape[1]), filler), items])
    return rows, torch.arange(length) < spare
