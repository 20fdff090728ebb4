"""What real users have in common and the users that the server makes up have not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attacks.base import View
from common.probes import last_states, made_up
from common.seeding import generator

PROBES, TASTE = 256, 8.0
"""As many made-up users as `exposure_cap` looks at, and their taste (docs/method.md)."""


def made_up_mean(view: View) -> Tensor:
    """Mean state [d] of users made up as the server does, popularity guessed from own histories."""
    task, sequences = view.task, view.cohort.sequences
    size = len(task.model.embeddings) - 1
    counts = np.bincount(np.concatenate(list(sequences)), minlength=size + 1)[1:]
    draw = generator(view.seed, "unseen", task.round)
    lengths = torch.tensor([len(s) for s in sequences])
    lengths = lengths[torch.randint(len(lengths), (PROBES,), generator=draw)]
    lengths = lengths.clamp(1, task.model_config.max_len)
    table = task.model.embeddings
    held = torch.from_numpy(counts).double().to(table.device)
    items = made_up(held, lengths.to(table.device), draw, table, TASTE)
    return last_states(task.model_config, task.model, items).mean(0)


def beside(mean: Tensor, known: Tensor) -> Tensor:
    """``mean`` less its part along ``known``: [d], [d] -> [d]."""
    length = known.square().sum().clamp_min(torch.finfo(known.dtype).tiny)
    return mean - (mean @ known) / length * known
