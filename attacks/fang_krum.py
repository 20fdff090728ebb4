"""Fang's attack on Krum: against the honest direction, just close enough that Krum picks it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch

from attacks.base import Attack, View
from attacks.estimates import known_honest, moments, send
from attacks.geometry import Line, krum_score, without_self
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class FangKrum(Attack):
    """u := −λ·sign μ from every attacker, the largest λ tried for which Krum would pick it.

    Fang et al. 2020 (arXiv 1911.11815), partial knowledge: the attackers' own c honest updates stand for the
    honest devices. Krum runs on these and e copies of u (n = c + e, f = e, hence c − 2 neighbours); λ starts
    at (min_i mean distance of g_i to its neighbours + max_i ‖g_i‖)/‖sign μ‖ and is halved down to
    ``threshold`` of that, then e grows by one. Needs no σ: with one device λ‖sign μ‖ is that device's norm.
    Honest where no λ is picked (c ≥ 3 equal updates). With ``knowledge: full`` the honest devices are
    themselves and e is the true number of attackers.
    """

    threshold: float = 1e-5

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 1911.11815"
    full: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must lie above 0 and at most at 1, given {self.threshold}")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        own = known_honest(updates, view)  # [c, D]
        if not len(own):
            return updates
        direction = -moments(own)[0].sign()  # [D]
        line = Line.through(torch.zeros_like(direction), direction, own)
        copies = range(1, len(own) + 2) if view.honest is None else (len(updates),)
        found = self._lambda(line, copies) if line.square > 0 else None
        return updates if found is None else send(updates, found * direction)

    def _lambda(self, line: Line, numbers: Iterable[int]) -> float | None:
        c = len(line.start)
        nearest = max(c - 2, 1)
        apart = krum_score(without_self(line.pairs).sqrt(), nearest) / nearest  # [c]
        first = float(apart.min() + line.start.max().sqrt()) / math.sqrt(line.square)
        for copies in numbers:
            scale = first
            while scale >= self.threshold * first:
                if picked(line, scale, copies, nearest):
                    return scale
                scale /= 2
        return None


def picked(line: Line, scale: float, copies: int, nearest: int) -> bool:
    """Does Krum prefer ``copies`` of the point at ``scale`` to every honest update?"""
    to_honest = line.distances(scale)  # [c]
    crafted = krum_score(torch.cat([to_honest.new_zeros(copies - 1), to_honest]), nearest)
    others = torch.cat([without_self(line.pairs), to_honest[:, None].expand(-1, copies)], dim=1)
    return bool(crafted < krum_score(others, nearest).min())
