"""Users that the server makes up, to see what the model would recommend: it holds no history of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from common.config import ModelConfig
from common.models import build_model, layout_of
from common.tasks import GlobalModel


def made_up(popularity: Tensor, lengths: Tensor, gen: torch.Generator) -> Tensor:
    """Histories of ``lengths`` [P] items, N at most, without repetition, drawn by popularity + 1.

    popularity: float64 [N]. Returns item numbers int64 [P, longest], right-aligned, padded with 0.
    """
    lengths = lengths.clamp(max=len(popularity))
    size = int(lengths.max())
    race = torch.empty(len(lengths), len(popularity), dtype=torch.float64).exponential_(generator=gen)
    first = (race / (popularity + 1)).topk(size, largest=False).indices + 1  # [P, size]
    first = first.gather(1, torch.rand(first.shape, generator=gen).argsort(1))  # in no order
    padded = torch.arange(size) < size - lengths[:, None]
    return first.masked_fill(padded, 0)


def last_states(config: ModelConfig, model: GlobalModel, items: Tensor) -> Tensor:
    """The state that each history is recommended from: [P, d]."""
    module = build_model(config).eval()
    named = layout_of(module).unflatten(model.encoder)

    def hidden(context: Tensor, padding: Tensor) -> Tensor:
        out: Tensor = functional_call(module, named, (context, padding))  # [ℓ, d]
        return out[-1]

    states: Tensor = vmap(hidden)(model.table[items], items == 0)  # [P, d]
    return states
