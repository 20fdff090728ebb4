"""Sieve: no row beyond what one interaction can do, and less weight to devices on evidence alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough
from server.aggregators.reputation import Reputation
from server.aggregators.stages import (
    TINY,
    interaction_size,
    norm_factor,
    retention,
    retention_weight,
    row_clip,
    scaled_sum,
)

WITHOUT_A_BOUND = 2.0
"""Of a model whose states have no bound, one interaction is taken for so many times the usual one."""


@dataclass(frozen=True)
class Sieve(Aggregator):
    """Row clip → retention → reputation → encoder clip → weighted mean (docs/method.md).

    c: the most that one interaction moves a row, by the model's own bound; g_ui clipped to ``rows`` · c;
    w_u = min(1, rt_u/``retention``)^``power`` with rt_u = ‖R_u clipped‖/‖R_u‖; w_u divided by how much u's
    encoders resembled others' over the rounds it took part in (server/aggregators/reputation.py); encoders
    clipped to ``encoder`` · √m_u · median_v(‖D_v‖/√m_v), where m_u = ‖R_u clipped‖²/c² is about the number
    of u's interactions; Δ = Σ_u w_u u / Σ_u w_u. Where nothing is beyond a bound and nobody is alike, this
    is the plain mean. Complexity O(n·(P + K·d) + n²·4096). Breakdown point 1/2 (medians over devices); no bound on
    attackers. Reference: ours, after the aims of arXiv 2602.23982.

    rows        bound of a row, in interactions; 0: off
    retention   a device that keeps less of its rows than this share loses weight
    power       how fast; 0: off
    encoder     bound of an encoder, in usual ones of as many interactions; 0: off
    reputation  how fast alike encoders lose weight; 0: off
    tolerance   how alike encoders may be, over the rounds, beyond the median device
    """

    name: ClassVar[str] = "sieve"
    family: ClassVar[str] = "recommendation"
    constraints: ClassVar[tuple[str, ...]] = ("exposure_cap",)
    rows: float = 1.0
    retention: float = 0.8
    power: float = 6.0
    encoder: float = 2.0
    reputation: float = Reputation.strength
    tolerance: float = Reputation.tolerance

    def __post_init__(self) -> None:
        if not 0 < self.retention <= 1:
            raise ValueError(f"retention must be a share above 0, found {self.retention}")
        for name in ("rows", "power", "encoder", "reputation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 (off) or positive, found {getattr(self, name)}")
        self.past  # noqa: B018  (raises ValueError)

    @property
    def past(self) -> Reputation:
        """The stage across rounds."""
        return Reputation(tolerance=self.tolerance, strength=self.reputation)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        norms = updates.row_norms  # [n, K]
        size = largest_interaction(norms, round_.interaction)  # c, 0-d
        factors = row_clip(norms, self.rows * size) if self.rows else torch.ones_like(norms)  # f [n, K]
        kept = retention(norms, factors)  # rt [n]
        trust, state = self.past(updates.encoder, state, round_)  # [n]
        weights = retention_weight(kept, self.retention, self.power) * trust  # w [n]
        shares = weights / weights.sum().clamp_min(TINY)  # [n], sums to 1
        encoder_shares = shares
        if self.encoder:
            lengths = (norms * factors).double().norm(dim=1) / size  # √m  [n]
            usual = updates.encoder.norm(dim=1).double() / lengths.clamp_min(TINY)  # ‖D_u‖/√m_u  [n]
            encoder_shares = shares * norm_factor(usual, self.encoder)
        encoder = encoder_shares.float() @ updates.encoder  # [n] @ [n, P] -> [P]
        rows = scaled_sum(updates.rows, shares.float()[:, None] * factors)  # [K, d]
        figures = {
            "clipped_rows": float((factors < 1).float().mean()),
            "mean_weight": float(weights.mean()),
            "quarantined": float((trust == 0).double().mean()),
        }
        return Aggregate(encoder, rows, shares.float(), figures), state


def largest_interaction(norms: Tensor, bound: Tensor | None) -> Tensor:
    """c, 0-d: the model's ``bound`` of one interaction, and no less than the usual one; norms [n, K].

    A loss with many positives a position, or noise on the updates, makes the usual one longer than the bound.
    """
    usual = interaction_size(norms)
    return WITHOUT_A_BOUND * usual if bound is None else torch.maximum(bound.to(usual), usual)
