"""SignGuard: a gate on the norm and the largest cluster of sign statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.checks import one_of, positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, sampled, weighted_sum
from server.aggregators.gram import middle, whole_norms

NARROWEST = 1e-3
"""The least bandwidth of mean shift: one more sign in a thousand is no other kind of device."""


@dataclass(frozen=True)
class Signguard(Aggregator):
    """Mean of the updates, clipped to the median norm, that pass a gate on the norm and one on the signs.

    Norm: low ≤ ‖u_i‖/median ≤ high. Signs: shares of +, − and 0 over ``sample`` of all coordinates, drawn
    at random; the largest cluster of them (``mean_shift``, or ``kmeans`` with two; equally large: the one
    nearer to the median device). Where nobody passes both, the norm decides. On item rows a share of 0 is
    the length of a history; ``zeros: ignore`` takes the shares of + and − among what is not 0.
    weights: min(1, median/‖u_i‖)/kept. Complexity O(n·P + n²). Breakdown point 1/2 (medians and the
    largest cluster). Reference: arXiv 2109.05872.
    """

    name: ClassVar[str] = "signguard"
    family: ClassVar[str] = "coordinate"
    host: ClassVar[str] = "shares of signs [n, 3]"
    low: float = 0.1
    high: float = 3.0
    sample: float = 0.1
    zeros: Literal["count", "ignore"] = "count"
    clusters: Literal["mean_shift", "kmeans"] = "mean_shift"

    def __post_init__(self) -> None:
        positive(low=self.low, high=self.high, sample=self.sample)
        if not self.low <= 1 <= self.high or self.sample > 1:
            raise ValueError(f"low ≤ 1 ≤ high and sample ≤ 1 are needed, given {self}")
        one_of(zeros=(self.zeros, ("count", "ignore")))
        one_of(clusters=(self.clusters, ("mean_shift", "kmeans")))

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        size = whole_norms(updates)  # [n]
        usual = middle(size)
        sized = (size >= self.low * usual) & (size <= self.high * usual)
        signs = sign_shares(sampled(updates, self.sample, round_.generator), self.zeros == "count")
        shares = signs.cpu().numpy()  # two or three numbers a device
        alike = torch.from_numpy(largest(shares, self._labels(shares, round_.generator))).to(signs.device)
        kept = next(some for some in (sized & alike, sized, torch.ones_like(sized)) if bool(some.any()))
        weights = (kept * (usual / size.clamp_min(1e-300)).clamp_max(1) / kept.sum()).float()
        encoder, rows = weighted_sum(updates, weights)
        figures = {"signguard.sized": _share(sized), "signguard.alike": _share(alike)}
        return Aggregate(encoder, rows, weights, figures), state

    def _labels(self, features: NDArray[np.float64], generator: torch.Generator) -> NDArray[np.int64]:
        """A cluster's number for each device [n]; −1 for none."""
        if len(np.unique(features, axis=0)) < 2:
            return np.zeros(len(features), dtype=np.int64)
        from sklearn.cluster import KMeans, MeanShift, estimate_bandwidth  # a second, for this rule only

        if self.clusters == "kmeans":
            seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
            found = KMeans(n_clusters=2, n_init=10, random_state=seed).fit(features)
        else:
            width = max(float(estimate_bandwidth(features, quantile=0.5)), NARROWEST)
            found = MeanShift(bandwidth=width, cluster_all=False).fit(features)
        return np.asarray(found.labels_, dtype=np.int64)


def sign_shares(values: Tensor, zeros: bool) -> Tensor:
    """Shares of +, − and 0 in [n, m] -> float64 [n, 3]; or of + and − among both -> [n, 2]."""
    up, down = (values > 0).double().sum(1), (values < 0).double().sum(1)  # [n]
    if zeros:
        return torch.stack([up, down, values.shape[1] - up - down], dim=1) / values.shape[1]
    return torch.stack([up, down], dim=1) / (up + down).clamp_min(1)[:, None]


def largest(features: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Who is in the largest cluster, bool [n]; of equals the one nearest to the median of all."""
    centre = np.median(features, axis=0)

    def rank(label: int) -> tuple[float, ...]:
        mean = features[labels == label].mean(axis=0)
        return (-float((labels == label).sum()), round(float(((mean - centre) ** 2).sum()), 12), *mean)

    known = [int(label) for label in np.unique(labels) if label >= 0]
    chosen: NDArray[np.bool_] = labels == min(known, key=rank)
    return chosen


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())
