"""Min-Max: as far off as possible without being an outlier by the largest distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attacks.base import Attack, View
from attacks.estimates import known_honest, moments, send
from attacks.geometry import DIRECTIONS, Direction, Line, against, largest
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class MinMax(Attack):
    """u := μ + γ∇ᵖ with the largest γ such that max_i ‖u − g_i‖ ≤ max_ij ‖g_i − g_j‖.

    ∇ᵖ (``direction``) is −μ/‖μ‖ (unit), −sign μ (sign) or −σ (std); g_i, μ and σ are those of the attackers'
    own devices, or those of all honest ones with ``knowledge: full``. γ by bisection in O(m) a step after
    one O(m²·D) product. With one device γ∇ᵖ = 0: honest.
    Reference: Shejwalkar & Houmansadr, NDSS 2021.
    """

    direction: Direction = "std"

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "NDSS 2021 (Shejwalkar & Houmansadr)"
    full: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, given {self.direction!r}")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        own = known_honest(updates, view)  # [m, D]
        if not len(own):
            return updates
        mean, std = moments(own)
        towards = against(self.direction, mean, std)  # [D]
        line = Line.through(mean, towards, own)
        bound = float(self.measure(line.pairs).max())
        gamma = largest(lambda g: float(self.measure(line.distances(g))) <= bound)
        return send(updates, mean + gamma * towards)

    def measure(self, distances: Tensor) -> Tensor:
        """How far out a point is, from its squared distances to all others [..., m] -> [...]."""
        return distances.amax(dim=-1)
