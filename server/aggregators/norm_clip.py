"""Mean of norm-clipped updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from common.checks import positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum
from server.aggregators.gram import middle, shrink, whole_norms


@dataclass(frozen=True)
class NormClip(Aggregator):
    """1/n Σ u_i·min(1, c/‖u_i‖) over the whole update; c = ``max_norm``, or the median norm without it.

    weights: min(1, c/‖u_i‖)/n, so their sum is 1 only when nobody is clipped. Complexity O(n·P).
    Breakdown point 0 in direction: f devices shift the mean by at most c·f/n each way, and beyond
    n/2 they also set the median. Reference: arXiv 1911.07963.
    """

    name: ClassVar[str] = "norm_clip"
    max_norm: float | None = None

    def __post_init__(self) -> None:
        if self.max_norm is not None:
            positive(max_norm=self.max_norm)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), round_.byzantine)
        size = whole_norms(updates)
        bound = middle(size) if self.max_norm is None else size.new_tensor(self.max_norm)
        scale = shrink(size, bound)
        weights = (scale / n).float()
        encoder, rows = weighted_sum(updates, weights)
        figures = {"norm_clip.bound": float(bound), "norm_clip.clipped": float((scale < 1).double().mean())}
        return Aggregate(encoder, rows, weights, figures), state
