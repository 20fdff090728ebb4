"""Ranking metrics as sums over devices, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from common.tasks import ACCURACY, CUTS, EXPOSURES, GROUPS, METRICS, EvaluateSums

Name = TypeVar("Name")


def metric(name: str, ranks: Tensor) -> Tensor:
    """Per-device values float64 [n] of ``hr@k``, ``ndcg@k`` or ``mrr`` from 0-based ranks.

    HR@k = 1[rank < k]; NDCG@k = HR@k / log2(rank + 2) (one relevant item); MRR = 1/(rank + 1).
    """
    if name == "mrr":
        return 1 / (ranks.double() + 1)
    kind, cut = name.split("@")
    hits = (ranks < int(cut)).double()
    return hits if kind == "hr" else hits / torch.log2(ranks.double() + 2)


def rank_values(filtered: Tensor, unfiltered: Tensor) -> Tensor:
    """Per-device values [n, len(METRICS)] from 0-based ranks with seen items filtered, and not."""
    return torch.stack([metric(name, ranks) for ranks in (filtered, unfiltered) for name in ACCURACY], dim=1)


def exposure_values(ranks: Tensor) -> Tensor:
    """Per-device values [n, len(EXPOSURES)] of an attacked item's rank: in the top k, and its gain."""
    return torch.stack([metric(name, ranks) for name in ACCURACY[:-1]], dim=1)


def add(parts: Sequence[EvaluateSums]) -> EvaluateSums:
    """The sums of several nodes (or parts of one); bounds and ε, which may differ, are left out."""
    return EvaluateSums(
        metrics=torch.stack([p.metrics for p in parts]).sum(0),
        count=torch.stack([p.count for p in parts]).sum(0),
        exposure=torch.stack([p.exposure for p in parts]).sum(0),
        eligible=torch.stack([p.eligible for p in parts]).sum(0),
        recurring=sum(p.recurring for p in parts),
    )


def scaled(sums: EvaluateSums, factor: float) -> EvaluateSums:
    """``sums`` as if of ``factor`` times their devices, which need not be a whole number."""
    return replace(
        sums,
        metrics=sums.metrics * factor,
        count=sums.count.double() * factor,
        exposure=sums.exposure * factor,
        eligible=sums.eligible.double() * factor,
        recurring=sums.recurring * factor,
    )


def means(sums: EvaluateSums) -> dict[str, dict[str, float]]:
    """Mean of every metric by group: ``{"all": {"hr@5": …}, "q1": …}``; empty groups are left out."""
    return {
        group: dict(zip(METRICS, (sums.metrics[g] / sums.count[g]).tolist(), strict=True))
        for g, group in enumerate(GROUPS)
        if sums.count[g] > 0
    }


def by_group(sums: EvaluateSums, targets: int) -> tuple[EvaluateSums, EvaluateSums]:
    """``sums`` with the exposure of ``targets`` items to all devices, and to those of the task's group."""
    everyone = replace(sums, exposure=sums.exposure[:targets], eligible=sums.eligible[:targets])
    return everyone, replace(sums, exposure=sums.exposure[targets:], eligible=sums.eligible[targets:])


def group_exposures(members: EvaluateSums) -> dict[str, float]:
    """ER@k within the group as ``er_group@k``; empty without a group.

    ER_G@k = 1/|T| Σ_t |{u ∈ G : t ∈ top-k(u)}| / |G| over the u who neither have t in their history nor as
    their answer.
    """
    found = exposures(members)
    return {f"er_group@{k}": found[f"er@{k}"] for k in CUTS if found}


def exposures(sums: EvaluateSums) -> dict[str, float]:
    """ER@k and T-NDCG@k, the mean over targets of the share of eligible devices; empty without targets.

    ER@k = 1/|T| Σ_t |{u ∈ U_t : t ∈ top-k(u)}| / |U_t|, U_t the users who neither have t in their history nor
    as their answer.
    """
    some = sums.eligible > 0
    if not bool(some.any()):
        return {}
    shares = sums.exposure[some] / sums.eligible[some, None]  # [T, E]
    return dict(zip(EXPOSURES, shares.mean(0).tolist(), strict=True))


def exposures_by_target(sums: EvaluateSums, targets: Sequence[Name]) -> dict[Name, dict[str, float]]:
    """:func:`exposures` of each of ``targets``, as they are called; without those that every device knows."""
    shares = sums.exposure / sums.eligible[:, None]  # [T, E]
    return {
        target: dict(zip(EXPOSURES, found, strict=True))
        for target, found, eligible in zip(targets, shares.tolist(), sums.eligible.tolist(), strict=True)
        if eligible > 0
    }
