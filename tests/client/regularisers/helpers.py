"""One device in double precision: a small model, its sequence, and what a term may read."""

from __future__ import annotations

import torch
from torch import Tensor

from client.regularisers import Own
from experiments.contracts.regularisers import DIM as DIM
from experiments.contracts.regularisers import LENGTH as LENGTH
from experiments.contracts.regularisers import K as K
from experiments.contracts.regularisers import encoder as encoder
from experiments.contracts.regularisers import own as own


def real(sequence: Tensor, mine: Own) -> Tensor:
    """Hidden states [n, d] of real items only, without padding and without a bucket."""
    return mine.encode(sequence, torch.zeros(len(sequence), dtype=torch.bool))
