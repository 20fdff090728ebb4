"""Sign flip: the honest update, reversed and enlarged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from attacks.base import Attack, View
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class SignFlip(Attack):
    """u := −scale · u (Li et al. 2019, arXiv 1811.03761)."""

    scale: float = 4.0

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 1811.03761"

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        return replace(updates, encoder=-self.scale * updates.encoder, rows=-self.scale * updates.rows)
