"""Next-item losses over the round's slice, for ONE user."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from common.config import TrainConfig

Loss = Callable[..., Tensor]
"""(scores [L, K], target slot [L], candidates bool [K] or None for all, catalogue size) -> loss [L]; beside
them what :func:`options` gives."""


def softmax(
    scores: Tensor, target: Tensor, candidates: Tensor | None, num_items: int, smoothing: float = 0.0
) -> Tensor:
    """−Σ_j y_j·log p_j, p the softmax of the (:func:`corrected`) scores of the C candidates.

    y is 1 − ε at the target and ε/C more at every candidate, with ε = ``smoothing`` (Szegedy et al. 2016,
    arXiv 1512.00567).
    """
    del num_items
    if candidates is not None:
        scores = scores.masked_fill(~candidates, -1e9)  # [L, K]
    logs = torch.log_softmax(scores, dim=-1)  # [L, K]
    loss = -logs.gather(-1, target[:, None]).squeeze(-1)  # [L]
    if not smoothing:
        return loss
    if candidates is None:
        every = -logs.mean(-1)  # [L]
    else:
        every = -torch.where(candidates, logs, 0.0).sum(-1) / candidates.sum().clamp(min=1)  # [L]
    return (1 - smoothing) * loss + smoothing * every


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


LOSSES: Mapping[str, Loss] = {"softmax": softmax, "sampled_softmax": softmax, "bce": bce, "gbce": gbce}


def options(config: TrainConfig) -> dict[str, float]:
    """What the loss of ``config`` takes beside scores, targets and candidates."""
    if config.loss == "gbce":
        return {"calibration": config.calibration}
    return {"smoothing": config.label_smoothing} if "softmax" in config.loss else {}


def corrected(name: str, scores: Tensor, target: Tensor, log_q: Tensor | None) -> Tensor:
    """Scores [L, K] as if the slice were the catalogue: s_j − log q_j, q the inclusion probabilities.

    ``softmax`` counts the target as drawn like any item. ``sampled_softmax`` knows that a position trains
    only if its target is in the slice: q = 1 there (as Khrylchenko et al. 2025 observe, arXiv 2507.09331).
    BCE and gBCE take the slice as it is.
    """
    if log_q is None or name not in ("softmax", "sampled_softmax"):
        return scores
    if name == "softmax":
        return scores - log_q
    slot = torch.arange(len(log_q), device=scores.device)  # [K]
    return scores - torch.where(slot == target[:, None], 0.0, log_q)
