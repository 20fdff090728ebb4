"""FoolsGold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import count, positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum
from server.aggregators.gram import cosines, inner_products, row_blocks
from server.aggregators.memory import recalled, remembered, signed
from server.aggregators.sketch import hashing, sketch

ALIKE = 1e-6
"""1 − cos below this is rounding of float32 sums."""

LIMIT = 1e30
"""Bound of a remembered value: its square still is a float64."""


@dataclass(frozen=True)
class FoolsGold(Aggregator):
    """Σ α_i u_i / Σ α with α_i small for devices whose histories H_i = Σ_t u_i^t resemble each other.

    cs_ij = max(0, cos(H_i, H_j)), v_i = max_{j≠i} cs_ij; pardoning: cs_ij ← cs_ij·v_i/v_j where v_i < v_j;
    α_i = 1 − max_j cs_ij, divided by the largest; α_i ← κ·(ln(α_i/(1 − α_i)) + ½) cut to [0, 1]. κ is
    ``confidence``. When all resemble each other completely nobody stands out: the plain mean.
    Histories belong to (node, device) identities. They are kept as count sketches of ``width`` numbers
    (cosines true to about 1/√width), whose secret hashes are drawn in the first round, and beyond
    ``capacity`` identities the longest unseen are forgotten: bounded whatever the model and the slices.
    Complexity O(n·P + n²·width). Breakdown point 0 against one attacker, who resembles nobody; it is made
    for many alike, needs no bound on them, and takes honest devices of like taste for such.
    Reference: arXiv 1808.04866.
    """

    name: ClassVar[str] = "foolsgold"
    sliced: ClassVar[bool] = False
    confidence: float = 1.0
    width: int = 2048
    capacity: int = 16_384

    def __post_init__(self) -> None:
        positive(confidence=self.confidence)
        count(1, width=self.width, capacity=self.capacity)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        where = updates.encoder.device
        hashes = state["hashes"] if state else hashing(round_.generator)
        identity = signed(round_.identity)  # [n, 2]
        history = sketch(updates, hashes.to(where), self.width)  # [n, width]
        history = (history + recalled(state, identity, self.width, where)).clamp(-LIMIT, LIMIT)
        trust = credit(cosines(inner_products(history)), self.confidence)  # [n]
        weights = (trust / trust.sum()).float()
        figures = {"foolsgold.distrusted": float((trust < 0.5).double().mean())}
        after = remembered(state, identity, history, round_.number, self.capacity)
        result = Aggregate(*weighted_sum(updates, weights), weights, figures)
        return result, {"hashes": hashes.clone(), **after}


def credit(alike: Tensor, confidence: float) -> Tensor:
    """α [n] in [0, 1], at least one of them above 0, from the cosines of histories [n, n]."""
    alike = alike.clamp_min(0).fill_diagonal_(0)
    closest = alike.max(dim=1).values  # v  [n]
    own = torch.empty_like(closest)
    for rows in row_blocks(len(alike)):
        pardon = closest[rows, None] / closest.clamp_min(1e-300)  # v_i / v_j  [b, n]
        own[rows] = 1 - (alike[rows] * pardon.clamp_(max=1)).max(dim=1).values
    own = torch.where(own > ALIKE, own, 0.0)
    if own.max() == 0:
        return torch.ones_like(own)
    scaled = torch.logit(own / own.max(), eps=1e-9)  # finite; both ends are cut below
    return (confidence * (scaled + 0.5)).clamp(0, 1)
