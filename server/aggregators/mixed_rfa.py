"""Mixed RFA: the mean and the geometric median together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.checks import count, one_of, positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum
from server.aggregators.geometric_median import GeometricMedian
from server.aggregators.gram import gram


@dataclass(frozen=True)
class MixedRfa(Aggregator):
    """mix·mean + (1 − mix)·geometric median, the defence of DV-FSR (mix 0.3, four Weiszfeld steps).

    Geometric median: argmin_v Σ α_i‖u_i − v‖ from the α-mean, w_i ∝ α_i/max(ν·s, ‖u_i − v‖) as in
    ``geometric_median``; α_i = 1/n, or n_i/Σn with ``weighting: history``, as the paper has it. Uniform is
    the default because a history is a claim, and a claim shall not buy weight. The mean is uniform.
    Complexity O(n²·P). Breakdown point 0: one far device moves the mean's part. Reference: arXiv 2409.07500.
    """

    name: ClassVar[str] = "mixed_rfa"
    family: ClassVar[str] = "recommendation"
    mix: float = 0.3
    weighting: Literal["uniform", "history"] = "uniform"
    max_iterations: int = 4
    smoothing: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix must lie in [0, 1], given {self.mix}")
        one_of(weighting=(self.weighting, ("uniform", "history")))
        count(1, max_iterations=self.max_iterations)
        positive(smoothing=self.smoothing)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), round_.byzantine)
        size = updates.history.clamp_min(1).double() if self.weighting == "history" else None
        median = GeometricMedian(smoothing=self.smoothing, max_iterations=self.max_iterations)
        centre, steps = median.centre(gram(updates), size)
        weights = (self.mix / n + (1 - self.mix) * centre).float()
        encoder, rows = weighted_sum(updates, weights)
        return Aggregate(encoder, rows, weights, {"mixed_rfa.iterations": float(steps)}), state
