"""Random labels: every next item of a malicious device is any item of the round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from attacks.base import Attack, View
from attacks.choices import choices
from client.batch import Batch


@dataclass(frozen=True)
class RandomLabels(Attack):
    """y_t ~ Uniform(the rows that the device trains), on real input sequences.

    Data poisoning: the update is what honest training makes of it. The next-item form of label flipping
    (Tolpegin et al. 2020, arXiv 2007.08432). Labels from the round's slice, since others would not count.
    """

    kind: ClassVar[str] = "data"
    knowledge: ClassVar[str] = "own data"
    reference: ClassVar[str] = "arXiv 2007.08432"

    def relabel(self, batch: Batch, view: View) -> Batch:
        open_ = choices(batch, view)  # [n, K]
        some = open_.any(dim=1, keepdim=True)  # [n, 1]
        odds = (open_ | ~some).double()  # a device without choices draws too, for nothing
        wanted = batch.targets.shape[1]
        slots = torch.multinomial(odds.cpu(), wanted, replacement=True, generator=view.generator)
        labels = view.cohort.rows.items.long()[slots.to(odds.device)]  # [n, ℓ]
        return replace(batch, targets=torch.where((batch.targets > 0) & some, labels, batch.targets))
