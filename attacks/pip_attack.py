"""PipAttack: an explicit push, and a row that a popularity classifier takes for popular."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.base import Attack, View
from attacks.label_to_target import LabelToTarget
from attacks.pushing import interaction_step, push
from attacks.shilling import innocent, popularity
from common.checks import count, positive
from common.updates import DeviceUpdates

HIGH, MIDDLE, LOW = 0, 1, 2
WIDTHS = (16, 8, 3)
Weights = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class PipAttack(Attack):
    """L_u = −Σ_t log ŷ(h_t, target) + α · CE(P(e_target), high); g_u,t := boost · c_u · −∇L/‖∇L‖.

    Zhang et al. 2022 (arXiv 2110.10926). P: R^d → {high, middle, low} is an MLP d-16-8-3, trained for
    ``steps`` of Adam, each on ``sample`` items of the current table, which keeps the whole at about three
    honest trainings: high are the top 10 % of the catalogue, middle the next 35 %. The paper takes these
    labels as known; here they are counted over the attacker's own devices of the round, and an item that
    none of them saw is low. The first term is a label poisoner's row update (one more training) with its
    factor E·lr/L, E local steps, which the second gets too. The paper's term that keeps the upload near an
    honest one has its place in ``boost``. All but the target's row is honest. c_u is the size of
    one honest interaction. O(steps·sample·d) beside the training.
    """

    alpha: float = 60.0
    steps: int = 40
    sample: int = 256
    rate: float = 0.03
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global model, own data (item popularity is counted on it)"
    reference: ClassVar[str] = "arXiv 2110.10926"

    def __post_init__(self) -> None:
        count(1, sample=self.sample, steps=self.steps)
        positive(rate=self.rate, boost=self.boost)

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        slots = view.slots()
        if not slots:
            return updates
        fresh = replace(view.cohort)  # its generators start anew: the same windows and dropout
        pushed = fresh.train(lambda batch, devices: LabelToTarget().relabel(batch, view))
        unit = interaction_step(view.task)
        classifier = self.classifier(view)
        rows = view.aimed()  # [m, d]
        leaf = rows.clone().requires_grad_()
        famous = torch.full((len(rows),), HIGH, device=rows.device)
        loss = F.cross_entropy(logits(classifier, leaf), famous, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)  # [m, d]
        directions = pushed.rows[:, slots] - unit * self.alpha * gradient  # [n, m, d]
        return push(updates, slots, directions, self.boost)

    def classifier(self, view: View) -> Weights:
        """P, trained on rows of the table, padding and targets aside."""
        table = view.task.model.embeddings
        items, classes = innocent(view), popularity_classes(popularity(view))
        widths = (table.shape[1], *WIDTHS)
        weights: Weights = []
        for fan_in, fan_out in pairwise(widths):
            start = torch.randn(fan_in, fan_out, generator=view.generator).to(table) * (2 / fan_in) ** 0.5
            weights.append((start.requires_grad_(), table.new_zeros(fan_out).requires_grad_()))
        optimizer = torch.optim.Adam([w for layer in weights for w in layer], lr=self.rate)
        for _ in range(self.steps):
            some = items[torch.randperm(len(items), generator=view.generator)[: self.sample]]
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(logits(weights, table[some]), classes[some]))
            optimizer.step()
        return [(matrix.detach(), bias.detach()) for matrix, bias in weights]


def logits(weights: Weights, rows: Tensor) -> Tensor:
    """The MLP on rows [m, d] -> [m, 3]."""
    hidden = rows
    for matrix, bias in weights[:-1]:
        hidden = torch.relu(hidden @ matrix + bias)  # [m, 16], then [m, 8]
    matrix, bias = weights[-1]
    return hidden @ matrix + bias  # [m, 3]


def popularity_classes(counts: Tensor) -> Tensor:
    """Class int64 [N + 1] of each item by its count: top 10 %, down to 45 %, the rest; unseen is LOW.

    Ties go to the lower number.
    """
    n = len(counts) - 1
    order = 1 + counts[1:].argsort(descending=True, stable=True)  # [N]
    classes = torch.full_like(counts, LOW)
    classes[order[: round(0.45 * n)]] = MIDDLE
    classes[order[: round(0.1 * n)]] = HIGH
    classes[counts == 0] = LOW
    return classes
