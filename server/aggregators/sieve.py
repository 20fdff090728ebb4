"""Sieve: bound every row by one interaction, weigh devices by what is left of them and by their past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough
from server.aggregators.reputation import Reputation
from server.aggregators.sketch import folded_cosines
from server.aggregators.stages import (
    collusion_weight,
    interaction_size,
    norm_factor,
    retention,
    retention_weight,
    row_clip,
    scaled_sum,
)


@dataclass(frozen=True)
class Sieve(Aggregator):
    """Row clip → retention → collusion → reputation → block clip → weighted mean (docs/method.md).

    c = κ · size of one interaction; g_ui ← g_ui · min(1, c/‖g_ui‖); w_u = min(1, rt_u/τ)^p with rt_u the
    share of ‖R_u‖ that the clip kept, relative to the median; encoder and row blocks clipped to
    (slack ·) their median norms; w_u divided by how much u's rows resemble others' beyond what devices do,
    and by how much its encoders did over the rounds it took part in (server/aggregators/reputation.py);
    Δ = Σ_u w_u u / Σ_u w_u. Cosines are those of folded vectors. Complexity O(n·(P + K·d) + n²·4096).
    Breakdown point 1/2 (medians over devices); no bound on attackers. Each stage can be switched off for an
    ablation. Reference: ours, after the aims of arXiv 2602.23982.
    """

    name: ClassVar[str] = "sieve"
    family: ClassVar[str] = "recommendation"
    kappa: float = 1.0
    threshold: float = 0.65
    power: float = 6.0
    row_slack: float = 1.25
    encoder_slack: float = 1.0
    collusion: float = 4.0
    collusion_floor: float = 0.3
    collusion_spread: float = 8.0
    reputation: float = Reputation.strength
    tolerance: float = Reputation.tolerance
    decay: float = Reputation.decay
    quarantine: float = Reputation.quarantine
    clip_rows: bool = True
    clip_blocks: bool = True

    def __post_init__(self) -> None:
        for name in ("kappa", "threshold", "row_slack", "encoder_slack", "collusion_floor"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")
        for name in ("power", "collusion", "collusion_spread", "reputation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 (off) or positive, found {getattr(self, name)}")
        self.past  # noqa: B018  (raises ValueError)

    @property
    def past(self) -> Reputation:
        """The stage across rounds."""
        return Reputation(self.tolerance, self.decay, self.reputation, self.quarantine)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), round_.byzantine)
        rows, weights = updates.rows, updates.rows.new_ones(n, dtype=torch.float64)
        norms = updates.row_norms  # [n, K]
        factors = torch.ones_like(norms)  # f [n, K]
        if self.clip_rows:
            factors = row_clip(norms, self.kappa * interaction_size(norms))
            weights = retention_weight(retention(norms, factors), self.threshold, self.power)
        if self.collusion > 0:
            alike = folded_cosines(rows, round_.generator, factors=factors)  # [n, n]
            weights = weights * collusion_weight(
                alike, self.collusion_floor, self.collusion_spread, self.collusion
            )
        trust, state = self.past(updates.encoder, state, round_)
        weights = weights * trust
        shares = weights / weights.sum().clamp_min(1e-12)  # [n], sums to 1
        encoder_share = row_share = shares
        if self.clip_blocks:
            encoder_share = shares * norm_factor(updates.encoder.norm(dim=1).double(), self.encoder_slack)
            lengths = (norms * factors).double().norm(dim=1)  # of the clipped row blocks  [n]
            row_share = shares * norm_factor(lengths, self.row_slack)
        encoder = encoder_share.float() @ updates.encoder  # [n] @ [n, P] -> [P]
        combined = scaled_sum(rows, row_share.float()[:, None] * factors)  # [K, d]
        figures = {
            "clipped_rows": float((factors < 1).float().mean()),
            "mean_weight": float(weights.mean()),
            "quarantined": float((trust == 0).double().mean()),
        }
        return Aggregate(encoder, combined, shares.float(), figures), state
