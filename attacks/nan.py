"""NaN: one value that is not a number spoils a plain mean for ever."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from attacks.base import Attack, View
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class NaN(Attack):
    """u[0] := NaN in encoder and rows; the smallest message that ends a run without admission."""

    kind: ClassVar[str] = "protocol"
    knowledge: ClassVar[str] = "nothing"

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        encoder, rows = updates.encoder.clone(), updates.rows.clone()
        encoder[:, 0] = float("nan")
        rows[:, 0, 0] = float("nan")
        return replace(updates, encoder=encoder, rows=rows)
