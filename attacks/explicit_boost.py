"""Explicit boosting: an honest update, but for the target's row, which is pushed towards all users."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from attacks.base import Attack, View
from attacks.label_to_target import LabelToTarget
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class ExplicitBoost(Attack):
    """g_target := boost · the row's update under −Σ_t log ŷ(h_t, target); all else honest.

    The explicit promotion term of PipAttack (WSDM'22, arXiv 2110.10926), uploaded ``boost`` times
    enlarged on one row. A round whose slice lacks the target is answered honestly.
    """

    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    reference: ClassVar[str] = "arXiv 2110.10926"

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        slots = view.slots()
        if not slots:
            return updates
        fresh = replace(view.cohort)  # its generators start anew: the same windows and dropout
        pushed = fresh.train(lambda batch, devices: LabelToTarget().relabel(batch, view))
        rows = updates.rows.clone()  # [n, K, d]
        rows[:, slots] = self.boost * pushed.rows[:, slots]
        return replace(updates, rows=rows)
