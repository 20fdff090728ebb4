"""Label-to-target: every next item of a malicious device is said to be the target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from attacks.base import Attack, View
from attacks.shilling import by_turns
from client.batch import Batch


@dataclass(frozen=True)
class LabelToTarget(Attack):
    """y_t := target for all t, on real input sequences; targets take turns over the positions.

    Data poisoning: the update is what honest training makes of it. Reference: the label-flip trainer
    of sequential shilling studies; the sequential form of label flipping (arXiv 2007.08432).
    """

    kind: ClassVar[str] = "data"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "own data"
    reference: ClassVar[str] = "arXiv 2007.08432"

    def relabel(self, batch: Batch, view: View) -> Batch:
        if not view.targets:
            return batch
        turns = by_turns(view.targets, batch)  # [ℓ]
        return replace(batch, targets=torch.where(batch.targets > 0, turns, batch.targets))
