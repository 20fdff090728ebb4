"""Users that are made up, to see what a model would recommend where no history is at hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import functional as F

from common.config import ModelConfig
from common.device import CPU
from common.models import layout_of, template
from common.tasks import GlobalModel

RACES = 1 << 24
"""Numbers of a draw that are held at a time, and twice so many with a taste: 64 MiB each."""

IN_CACHE = 64
"""Histories that the CPU takes through the encoder at a time: what it works on stays in its cache."""


@dataclass(frozen=True)
class Audience:
    """P users a list is made for: histories int64 [P, ℓ], zeros fill up; states [P, d], in any length."""

    histories: Tensor
    states: Tensor


def made_up(
    popularity: Tensor,
    lengths: Tensor,
    gen: torch.Generator,
    table: Tensor | None = None,
    taste: float = 0.0,
) -> Tensor:
    """Histories of ``lengths`` [P] items, N at most, drawn without repetition, i by pop_i + mean_j pop_j / 4.

    With a ``taste`` a user has a first love a, drawn so, and i is drawn by that times
    exp(β cos(e_i − ē, e_a − ē)): people keep to what goes together; without it all look like the average.
    How much they do differs, and so does what a model gives them: β is drawn from 0 to ``taste`` for each.

    popularity: float64 [N], in any unit; table [N + 1, d]. Returns item numbers int64 [P, longest],
    right-aligned after zeros. Numbers are drawn on the CPU, whatever device the tensors are on.
    """
    where = popularity.device
    lengths = lengths.clamp(max=len(popularity))
    size = int(lengths.max())
    rate = (popularity + popularity.mean() / 4).clamp(min=1e-9).float()  # [N]
    centred = love = strength = None
    if table is not None and taste > 0:
        centred = F.normalize(table[1:] - table[1:].mean(0), dim=1)  # [N, d]
        love = torch.multinomial(rate.cpu(), len(lengths), replacement=True, generator=gen).to(where)  # [P]
        strength = taste * torch.rand(len(lengths), 1, generator=gen).to(where)  # β [P, 1]
    firsts = []
    for some in torch.split(torch.arange(len(lengths), device=where), max(1, RACES // len(popularity))):
        pace = rate  # [N]
        if centred is not None and love is not None and strength is not None:
            pace = (centred[love[some]] @ centred.T).mul_(strength[some]).exp_().mul_(rate)  # [p, N]
        # −log u is exponential: the smallest −log u/rate wins. In float32, several times as fast as
        # exponential_.
        race = torch.rand(len(some), len(popularity), generator=gen).to(where).log_().div_(pace)
        firsts.append(race.topk(size).indices + 1)  # [p, size], the earliest on the left
    first = torch.cat(firsts)  # [P, size]
    beyond = torch.arange(size, device=where) >= lengths[:, None]  # [P, size]
    key = torch.rand(first.shape, generator=gen).to(where).masked_fill(beyond, -1.0)  # the rest in no order
    order = key.argsort(1)
    return first.masked_fill(beyond, 0).gather(1, order)


def last_states(config: ModelConfig, model: GlobalModel, items: Tensor) -> Tensor:
    """The state that each history is recommended from: [P, d]."""
    module = template(config)
    named = layout_of(module).unflatten(model.encoder)
    last = torch.tensor([items.shape[1] - 1], device=items.device)

    def hidden(context: Tensor, padding: Tensor) -> Tensor:
        out: Tensor = functional_call(module, named, (context, padding), {"positions": last})  # [1, d]
        return out[0]

    some = IN_CACHE if items.device == CPU and len(items) > IN_CACHE else None
    states: Tensor = vmap(hidden, chunk_size=some)(model.embed(items), items == 0)  # [P, d]
    return states
