"""FLAME: cluster by direction, clip, add noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, GramRule, Round, State, Weighed
from server.aggregators.gram import cosines, middle, norms, shrink


@dataclass(frozen=True)
class Flame(GramRule):
    """Mean over the majority cluster L of u_i·min(1, S/‖u_i‖), plus N(0, (λS)²) on every coordinate.

    L: HDBSCAN on 1 − cos(u_i, u_j) with clusters of at least ⌊n/2⌋ + 1, so that there is at most one: the
    first majority that single linkage forms, often little more than half. Where there is none, L is all.
    S is the median norm of all n. λ is ``noise``: 0 (none) by default, the paper takes .001 to .01. The
    paper measures angles between local models; ours are between updates, which the common part does not
    blur. An update of zero is at distance 1 from every other.
    Complexity O(n²·P). Breakdown: needs n ≥ 2f + 1; a majority cluster is only as honest as its angles,
    and inside it f devices shift the mean by at most S·f/|L|. Reference: arXiv 2101.02281.
    """

    name: ClassVar[str] = "flame"
    host: ClassVar[str] = "distances [n, n]"
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.noise < float("inf"):
            raise ValueError(f"noise must be finite and at least 0, given {self.noise}")

    @property
    def in_gram_space(self) -> bool:
        return self.noise == 0

    def least(self, byzantine: int) -> int:
        return 2 * byzantine + 1

    def weigh(self, products: Tensor, state: State, round_: Round) -> Weighed:
        kept = majority(1 - cosines(products).clamp(-1, 1))
        size = norms(products)  # [n]
        bound = middle(size)
        scale = shrink(size, bound)
        figures = {"flame.kept": float(kept.sum()), "flame.bound": float(bound)}
        return Weighed(kept * scale / kept.sum(), state, figures)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        found, after = super().__call__(updates, state, round_)
        if self.noise == 0:
            return found, after
        width = self.noise * found.figures["flame.bound"]
        encoder, rows = (
            value + width * torch.randn(value.shape, generator=round_.generator).to(value)
            for value in (found.encoder, found.rows)
        )
        return replace(found, encoder=encoder, rows=rows), after


def majority(distances: Tensor) -> Tensor:
    """bool [n]: the members of the cluster of more than half of the devices, or all where there is none."""
    n = len(distances)
    if n < 3:  # two devices have no majority but both
        return torch.ones(n, dtype=torch.bool, device=distances.device)
    from sklearn.cluster import HDBSCAN  # a second of start-up that only this rule pays

    clusters = HDBSCAN(
        min_cluster_size=n // 2 + 1, min_samples=1, metric="precomputed", allow_single_cluster=True, copy=True
    )
    square = distances.clone().fill_diagonal_(0)
    kept = torch.from_numpy(clusters.fit_predict(square.cpu().numpy()) >= 0).to(distances.device)
    return kept if kept.any() else torch.ones_like(kept)
