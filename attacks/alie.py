"""A little is enough: a shift so small that it hides among the honest, the same from every attacker."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

from attacks.base import Attack, View
from attacks.estimates import crowd, known_honest, moments, send
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class ALIE(Attack):
    """u := μ − z·σ per coordinate (Baruch et al. 2019, arXiv 1902.06156).

    z = Φ⁻¹((n − f − s)/(n − f)) with s = ⌊n/2 + 1⌋ − f, the number of honest devices that must lie further
    out than the attackers for these to be the majority; at least 0. μ and σ are those of the attackers' own
    honest updates; f is the number of their devices in the round and n = f/share, since no device is told
    how many others are asked. ``z`` sets z itself. With one device σ = 0 and the update is honest. With
    ``knowledge: full`` μ and σ are those of the honest devices, and n is counted.
    """

    share: float = 0.2
    z: float | None = None

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 1902.06156"
    full: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise ValueError(f"share must lie above 0 and at most at 0.5, given {self.share}")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        own = known_honest(updates, view)  # [m, D]
        if not len(own):
            return updates
        mean, std = moments(own)
        z = z_max(crowd(updates, view, self.share), len(updates)) if self.z is None else self.z
        return send(updates, mean - z * std)


def z_max(n: int, f: int) -> float:
    """How many deviations f of n devices may shift a coordinate and still have a majority behind them.

    Where they are the majority by themselves, it is as if one honest device still had to follow.
    """
    supporters = max(1, n // 2 + 1 - f)
    share = (n - f - supporters) / (n - f)
    return NormalDist().inv_cdf(share) if share > 0.5 else 0.0
