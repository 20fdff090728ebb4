"""FedAttack: the globally hardest samples, that is the item furthest from the user as its next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import Attack, View
from attacks.choices import choices
from attacks.hidden import hidden_states
from client.batch import Batch


@dataclass(frozen=True)
class FedAttack(Attack):
    """y_t := argmin_{i in the slice} h_t·e_i with h_t the device's hidden state under the global model.

    Wu et al. 2022 (arXiv 2202.04975) pair the furthest item as positive with the closest as negative. Here
    the negatives are the round's slice, in which the closest item is the one that the softmax pushes most:
    the label alone does both. Data poisoning: the rest is honest training. O(ℓ·K·d) a device.
    """

    kind: ClassVar[str] = "data"
    reference: ClassVar[str] = "arXiv 2202.04975"

    def relabel(self, batch: Batch, view: View) -> Batch:
        open_ = choices(batch, view)  # [n, K]
        scores = self._scores(batch, view).masked_fill(~open_[:, None, :], torch.inf)  # [n, ℓ, K]
        furthest = view.cohort.rows.items.long()[scores.argmin(dim=2)]  # [n, ℓ]
        changed = (batch.targets > 0) & open_.any(dim=1, keepdim=True)  # [n, ℓ]
        return replace(batch, targets=torch.where(changed, furthest, batch.targets))

    def _scores(self, batch: Batch, view: View) -> Tensor:
        """h_t·e_i without dropout, as in ranking -> [n, ℓ, K]."""
        states = hidden_states(batch, view.task)  # [n, ℓ, d]
        return states @ view.task.model.embeddings[view.cohort.rows.items.long()].T
