"""Mimic: every attacker copies one honest device, so that its taste is counted many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from attacks.base import Attack, View
from attacks.estimates import known_honest, send
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class Mimic(Attack):
    """u := g_i*, i* = argmax_i |⟨g_i, z⟩| with z the direction in which honest updates differ most.

    Karimireddy et al. 2022 (arXiv 2006.09365). z is the top eigenvector of the covariance, here of the
    attackers' own honest updates, whose number makes it exact from their inner products (m × m). The paper
    learns z over a warm-up and then follows one worker; here devices are drawn anew each round, so i* is
    chosen in each, with ``knowledge: full`` from the true honest devices. Every update sent is an honest
    one: what harms is the repetition. O(m²·D).
    """

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 2006.09365"
    full: ClassVar[bool] = True

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        own = known_honest(updates, view)  # [m, D]
        if not len(own):
            return updates
        wide = own.double()
        away = wide - wide.mean(dim=0)  # [m, D]
        _, basis = torch.linalg.eigh(away @ away.T)  # ascending
        top = away.T @ basis[:, -1]  # z up to its length  [D]
        return send(updates, own[int((wide @ top).abs().argmax())])
