"""Next-item losses over the round's slice, for ONE user."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor, Tensor | None, int], Tensor]
"""(scores [L, K], target slot [L], candidates bool [K] or None for all, catalogue size) -> loss [L]."""


def softmax(scores: Tensor, target: Tensor, candidates: Tensor | None, num_items: int) -> Tensor:
    """−log softmax of the target among the candidates (scores carry the −log q correction)."""
    del num_items
    if candidates is not None:
        scores = scores.masked_fill(~candidates, -1e9)  # [L, K]
    return -torch.log_softmax(scores, dim=-1).gather(-1, target[:, None]).squeeze(-1)  # [L]


def gbce(
    scores: Tensor, target: Tensor, candidates: Tensor | None, num_items: int, calibration: float = 0.75
) -> Tensor:
    """−β·log σ(s⁺) − Σ_neg log(1 − σ(s⁻)), β = α(t(1 − 1/α) + 1/α), α = negatives/(N − 1).

    gSASRec (Petrov & Macdonald 2023, arXiv 2308.07192) with t = ``calibration``; t = 0 is plain BCE.
    """
    positive = scores.gather(-1, target[:, None]).squeeze(-1)  # [L]
    slot = torch.arange(scores.shape[-1], device=scores.device)  # [K]; one_hot has no batching rule
    negative, count = slot != target[:, None], torch.full_like(scores[0, 0], scores.shape[-1])  # [L, K]
    if candidates is not None:
        negative, count = candidates & negative, candidates.sum()
    rate = (count - 1).clamp(min=1) / max(num_items - 1, 1)  # α
    beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    pushed = (F.softplus(scores) * negative).sum(-1)  # [L]
    return beta * F.softplus(-positive) + pushed


def bce(scores: Tensor, target: Tensor, candidates: Tensor | None, num_items: int) -> Tensor:
    """−log σ(s⁺) − Σ_neg log(1 − σ(s⁻)): the loss of SASRec over the slice's negatives."""
    return gbce(scores, target, candidates, num_items, calibration=0.0)


LOSSES: Mapping[str, Loss] = {"softmax": softmax, "bce": bce, "gbce": gbce}


def corrected(name: str, scores: Tensor, log_q: Tensor | None) -> Tensor:
    """Softmax over a sampled slice subtracts log q (q: inclusion probability); the others do not."""
    return scores - log_q if name == "softmax" and log_q is not None else scores
