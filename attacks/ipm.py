"""Inner product manipulation: the opposite of what the honest want, together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from attacks.base import Attack, View
from attacks.estimates import known_honest, moments, send
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class IPM(Attack):
    """u := −ε·μ with μ the mean of the attackers' own honest updates (Xie et al. 2019, arXiv 1903.03936).

    As in the paper with ``knowledge: full``: then μ is the mean of the honest devices.

    A plain mean turns round for ε > (1 − ρ)/ρ, that is 4 with one device in five; against Krum and the
    median a small ε (.1 to .5) is the stronger one.
    """

    epsilon: float = 10.0

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 1903.03936"
    full: ClassVar[bool] = True

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        own = known_honest(updates, view)  # [m, D]
        return send(updates, -self.epsilon * moments(own)[0]) if len(own) else updates
