"""UNION's loss on a device: what follows each other alike, everything else apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrast(
    inputs: Tensor, rows: Tensor, target: Tensor, counted: Tensor, candidates: Tensor, negatives: int
) -> Tensor:
    """−log(exp(e_i·e_j) / (exp(e_i·e_j) + m·mean_n exp(e_i·e_n))) at each position -> [ℓ], for ONE user.

    e_i is the input at the position (inputs [ℓ, d]), j the next item (target int64 [ℓ], its place among
    rows [K, d], valid where counted bool [ℓ], else the penalty is 0); n runs over the candidates (bool [K])
    that the device does not hold. UNION (arXiv 2212.05399) draws m = ``negatives`` of them: m times their
    mean is the same in expectation, and draws nothing.
    """
    slot = torch.arange(rows.shape[0], device=rows.device)  # [K]
    held = ((target[:, None] == slot) & counted[:, None]).any(0)  # [K]
    others = candidates & ~held  # [K]
    alike = (inputs * rows[target]).sum(1)  # e_i·e_j  [ℓ]
    apart = (inputs @ rows.T).masked_fill(~others, -1e9)  # e_i·e_n  [ℓ, K]
    mean = torch.logsumexp(apart, dim=-1) - others.sum().clamp(min=1).log()  # [ℓ]
    return F.softplus(mean + torch.log(torch.ones_like(mean) * negatives) - alike) * counted  # [ℓ]
