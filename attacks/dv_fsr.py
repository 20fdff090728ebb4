"""DV-FSR: false sequences that lead to the target, and a target row near the histories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.base import Attack, View
from attacks.pushing import interaction_step, push
from attacks.shilling import confined, trained_targets
from attacks.substitution import substitute
from client.batch import Batch
from common.checks import count, positive
from common.updates import DeviceUpdates

PARTS = ("explicit", "implicit", "both")


@dataclass(frozen=True)
class DvFsr(Attack):
    """L_u = −log ŷ(f(s′_u), t) + CE([cos(e_t, ē_u), cos(e_t, e_n1), …], 0); g_u,t := boost · c_u · −∇L/‖∇L‖.

    Dual-view attack (arXiv 2409.07500, since withdrawn by its authors for revision). ``part`` explicit, the
    first term: in the device's own sequence s the ``positions`` items of steepest loss are replaced (see
    ``substitution.py``) and t is said to follow at the end; the device trains on that alone, so encoder
    and rows are those of s′. Implicit, the second: ē_u is the mean row of the device's window, n_k are
    ``negatives`` random items; encoder and other rows are honest. ``both``: the sum, where the second
    term gets the factor E·lr/L that E steps of local training give the first. c_u is the size of one
    interaction.

    Not as in the paper: the loss of the protocol instead of a binary cross-entropy; one s′ instead of 10,
    ``candidates`` 3 instead of 10 and gradients of L_con for the target's row alone, which keeps the cost
    at three honest trainings. Several targets take turns over the rounds.
    """

    part: str = "both"
    positions: int = 2
    candidates: int = 3
    similar: float = 0.5
    negatives: int = 100
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    reference: ClassVar[str] = "arXiv 2409.07500"

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ValueError(f"part is {self.part!r}; valid: {', '.join(PARTS)}")
        count(1, positions=self.positions, candidates=self.candidates, negatives=self.negatives)
        positive(boost=self.boost)
        if not -1 <= self.similar <= 1:
            raise ValueError(f"similar is {self.similar}; expected a cosine from -1 to 1")

    def target(self, view: View) -> int:
        """The target of this round, or 0 when the slice has none."""
        found = trained_targets(view)
        return found[view.task.round % len(found)] if found else 0

    def relabel(self, batch: Batch, view: View) -> Batch:
        target = self.target(view)
        if self.part == "implicit" or not target:
            return batch
        inputs = substitute(batch, target, view.task, self.positions, self.candidates, self.similar)
        last = torch.zeros_like(batch.targets)
        last[:, -1] = torch.where(batch.targets[:, -1] > 0, target, 0)
        return replace(batch, inputs=inputs, targets=last)

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        updates = confined(updates)
        target = self.target(view)
        if not target:
            return updates
        slots = [slot for slot, aim in zip(view.slots(), view.aims(), strict=True) if aim == target]
        directions = updates.rows.new_zeros(len(updates), len(slots), updates.rows.shape[2])  # [n, m, d]
        if self.part != "implicit":
            directions = directions + updates.rows[:, slots]
        if self.part != "explicit":
            directions = directions - interaction_step(view.task) * self.contrast(target, view)[:, None]
        return push(updates, slots, directions, self.boost)

    def contrast(self, target: int, view: View) -> Tensor:
        """∇_{e_t} of the second term for each device: [n, d]."""
        table = view.task.model.embeddings
        every = torch.arange(1, len(table), device=table.device)
        others = every[every != target]
        drawn = torch.randint(len(others), (self.negatives,), generator=view.generator).to(table.device)
        means = [table[torch.from_numpy(w.astype("int64"))].mean(0) for w in view.cohort.windows]
        own = torch.stack(means).nan_to_num()  # [n, d]; 0 for a device without a history
        leaf = table[target].expand(len(own), -1).clone().requires_grad_()  # [n, d]
        near = F.cosine_similarity(leaf, own, dim=1)  # [n]
        far = F.normalize(leaf, dim=1) @ F.normalize(table[others[drawn]], dim=1).T  # [n, negatives]
        scores = torch.cat([near[:, None], far], dim=1)  # [n, 1 + negatives]
        loss = F.cross_entropy(scores, drawn.new_zeros(len(own)), reduction="sum")
        return torch.autograd.grad(loss, leaf)[0]
