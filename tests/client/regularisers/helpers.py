"""One device in double precision: a small model, its sequence, and what a term may read."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from client.regularisers import CHANNELS, Own
from common.models import build_model
from tests.client.samples import model_config

LENGTH, DIM, K = 8, 8, 6


def encoder(name: str = "sasrec", seed: int = 0) -> nn.Module:
    """A model with nothing at zero or one, and without gradients until they are asked for."""
    model = build_model(model_config(name=name, blocks=1, max_len=LENGTH)).double()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return model.requires_grad_(False)


def own(items: int = 6, seed: int = 1, model: nn.Module | None = None, **changes: Tensor) -> Own:
    """``items`` of LENGTH positions are real; two of three next items are in the slice of K rows."""
    g = torch.Generator().manual_seed(seed)
    module = model or encoder()

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def encode(inputs: Tensor, padding: Tensor) -> Tensor:
        named = dict(module.named_parameters())
        out: Tensor = functional_call(module, named, (inputs, padding))
        return out

    padding = torch.arange(LENGTH) < LENGTH - items
    inputs = normal(LENGTH, DIM) * (~padding)[:, None]
    found = Own(
        hidden=encode(inputs, padding).detach(),
        anchor=normal(LENGTH, DIM),
        padding=padding,
        inputs=inputs,
        rows=normal(K, DIM),
        start=normal(K, DIM),
        target=torch.randint(K, (LENGTH,), generator=g),
        counted=(torch.rand(LENGTH, generator=g) < 2 / 3) & ~padding,
        candidates=torch.tensor([True] * (K - 1) + [False]),
        noise=torch.rand(CHANNELS, LENGTH, generator=g, dtype=torch.float64),
        gaps=1000 * torch.rand(LENGTH, generator=g, dtype=torch.float64),
        encode=encode,
    )
    return replace(found, **changes)


def real(sequence: Tensor, mine: Own) -> Tensor:
    """Hidden states [n, d] of real items only, without padding and without a bucket."""
    return mine.encode(sequence, torch.zeros(len(sequence), dtype=torch.bool))
