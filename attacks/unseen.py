"""What real users have in common and the users that the server makes up have not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.base import View
from common.probes import last_states, made_up
from common.seeding import generator

PROBES, TASTE = 256, 12.0
"""As many made-up users as `exposure_cap` looks at, and their strongest taste (docs/method.md)."""


def made_up_mean(view: View) -> Tensor:
    """Mean state [d] of users made up as the server does, popularity guessed from own histories."""
    draw = generator(view.seed, "unseen", view.task.round)
    return states(made_up_users(view, draw), view).mean(0)


def made_up_users(view: View, draw: torch.Generator, love: int = 0) -> Tensor:
    """Histories int64 [PROBES, longest] of users made up as the server does, with guessed popularity.

    love: an item that all of them have and love first, as the server's taste has it; 0: each its own.
    """
    task, sequences, table = view.task, view.cohort.sequences, view.task.model.embeddings
    counts = np.bincount(np.concatenate(list(sequences)), minlength=len(table))[1:]
    lengths = torch.tensor([len(s) for s in sequences])
    lengths = lengths[torch.randint(len(lengths), (PROBES,), generator=draw)]
    lengths = lengths.clamp(1, task.model_config.max_len).to(table.device)
    held = torch.from_numpy(counts).double().to(table.device)  # [N]
    if not love:
        return made_up(held, lengths, draw, table, TASTE)
    centred = F.normalize(table[1:] - table[1:].mean(0), dim=1)  # [N, d]
    liked = (held + held.mean() / 4) * (TASTE / 2 * centred @ centred[love - 1]).exp()  # [N]
    items = made_up(liked, lengths, draw)
    longest = items.shape[1]
    place = (longest - 1 - torch.rand(PROBES, generator=draw).to(lengths.device) * lengths).ceil().long()
    without = ~(items == love).any(dim=1)  # [PROBES]
    items[without, place[without]] = love
    return items


def states(items: Tensor, view: View) -> Tensor:
    """The state after each history: [P, ℓ] -> [P, d]."""
    return last_states(view.task.model_config, view.task.model, items)


def beside(mean: Tensor, known: Tensor) -> Tensor:
    """``mean`` less its part along ``known``: [d], [d] -> [d]."""
    length = known.square().sum().clamp_min(torch.finfo(known.dtype).tiny)
    return mean - (mean @ known) / length * known
