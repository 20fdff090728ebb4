"""Sieve: no row beyond what one interaction can do, and less weight to devices on evidence alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough
from server.aggregators.reputation import Reputation
from server.aggregators.stages import (
    TINY,
    norm_factor,
    retention,
    retention_weight,
    row_clip,
    row_limits,
    scaled_sum,
)


@dataclass(frozen=True)
class Sieve(Aggregator):
    """Row clip → retention → reputation → encoder clip → weighted mean (docs/method.md).

    c_ui: the most that one interaction moves row i in the direction of g_ui, by the model's own bound;
    g_ui clipped to ``rows`` · c_ui; w_u = min(1, rt_u/``retention``)⁶, rt_u = ‖R_u clipped‖/‖R_u‖
    over its median; w_u divided by how much u's encoders resembled others' over the rounds it took part in
    (server/aggregators/reputation.py); encoders clipped to
    ``encoder`` · ‖R_u‖ · median_v(‖D_v‖/‖R_v‖), R_u clipped, for ‖R_u‖² grows with the interactions;
    Δ = Σ_u w_u u / Σ_u w_u. Where nothing is beyond a bound and nobody is alike, this is the plain mean.
    Complexity O(n·(P + K·d) + n²·4096). Breakdown point 1/2 (medians over devices); no bound on
    attackers. Reference: ours, after the aims of arXiv 2602.23982.

    rows        bound of a row, in interactions; 0: off
    retention   a device that keeps less of its rows than this share loses weight; 0: off
    encoder     bound of an encoder, in usual ones beside as long rows; 0: off
    reputation  how fast alike encoders lose weight; 0: off
    """

    name: ClassVar[str] = "sieve"
    family: ClassVar[str] = "recommendation"
    constraints: ClassVar[tuple[str, ...]] = ("exposure_cap",)
    rowwise: ClassVar[bool] = True
    rows: float = 1.25
    retention: float = 0.8
    encoder: float = 2.0
    reputation: float = Reputation.strength

    def __post_init__(self) -> None:
        if not 0 <= self.retention <= 1:
            raise ValueError(f"retention must be 0 (off) or a share up to 1, given {self.retention}")
        for name in ("rows", "encoder", "reputation"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 (off) or positive, given {getattr(self, name)}")

    @property
    def past(self) -> Reputation:
        """The stage across rounds."""
        return Reputation(strength=self.reputation)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        norms = updates.row_norms  # [n, K]
        factors = torch.ones_like(norms)  # f [n, K]
        if self.rows:
            factors = row_clip(norms, self.rows * row_limits(updates.rows, norms, round_.interaction))
        kept = retention(norms, factors)  # rt [n]
        alike = self.past.cosines(updates.encoder, round_)  # [n, n]
        trust, state = self.past(alike, state, round_)
        trust = trust.to(kept.device)  # [n]
        weights = retention_weight(kept, self.retention) * trust  # w [n]
        shares = weights / weights.sum().clamp_min(TINY)  # [n], sums to 1
        encoder_shares = shares
        if self.encoder:
            lengths = (norms * factors).double().norm(dim=1)  # ‖R_u‖ after the clip  [n]
            ratios = updates.encoder.norm(dim=1).double() / lengths.clamp_min(TINY)  # [n]
            encoder_shares = shares * norm_factor(ratios, self.encoder)
        encoder = encoder_shares.float() @ updates.encoder  # [n] @ [n, P] -> [P]
        rows = scaled_sum(updates.rows, shares.float()[:, None] * factors)  # [K, d]
        figures = {
            "clipped_rows": float((factors < 1).float().mean()),
            "mean_weight": float(weights.mean()),
            "quarantined": float((trust == 0).double().mean()),
        }
        return Aggregate(encoder, rows, shares.float(), figures, alike=alike), state
