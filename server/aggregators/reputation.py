"""What rounds before say of a device: evidence that adds up, fades, and stays with its node."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from common.checks import count, positive, unit
from server.aggregators.base import Round, State
from server.aggregators.gram import middle
from server.aggregators.memory import recalled, remembered, signed
from server.aggregators.sketch import folded_cosines

LEAST = 8
"""Fewer devices have no usual alikeness: such a round says nothing."""

RECORD = 4
"""Numbers that are kept of a device: Σ a^k x and Σ a^k of the long memory, then of the short one."""

LOW, HIGH = -0.1, 0.25
"""One round counts for no more: credit cannot be saved up, nor one bad round last for ever."""


@dataclass(frozen=True)
class Reputation:
    """r_u = max_a Σ_k a^k x_u(k) / (1 + Σ_k a^k) over its rounds, latest first; w_u = (1 + s·(r_u/t − 1)₊)⁻².

    x_u is the alikeness of u's encoder beyond the round's median, cut to [−.1, .25]; the 1 is a round without
    evidence: a newcomer is trusted, and no single round leads to quarantine. Two memories a: a long one, for
    a little evidence in each of many rounds, and a short one, for who was decent for long and then is not.
    From r_u > q·t on w_u = 0 (quarantine); u is still asked, its evidence fades by a round, and it comes back
    when its rounds look like others'. Identities are (authenticated node, device); a node's devices are those
    that it came with.

    tolerance t; memories a, long and short; strength s (0: off); quarantine q; peers: the share of devices
    that count as near.
    """

    tolerance: float = 0.06
    long: float = 0.9
    short: float = 0.5
    strength: float = 3.0
    quarantine: float = 2.5
    peers: float = 0.2
    capacity: int = 1 << 20

    def __post_init__(self) -> None:
        positive(tolerance=self.tolerance, peers=self.peers)
        unit(long=self.long, short=self.short)
        count(1, capacity=self.capacity)
        if self.strength < 0 or self.quarantine < 1 or self.peers > 1:
            raise ValueError("strength must be 0 (off) or positive, quarantine at least 1, peers at most 1")

    def cosines(self, encoders: Tensor, round_: Round) -> Tensor | None:
        """Of encoders [n, P], what all learn taken away: float32 [n, n]; None if off, or of too few."""
        few = not self.strength or len(encoders) < LEAST
        return None if few else encoder_cosines(encoders, round_.generator)

    def __call__(self, cosines: Tensor | None, state: State, round_: Round) -> tuple[Tensor, State]:
        """Weights float64 [n] for this round's devices, of these cosines [n, n], and the next state."""
        identity = signed(round_.identity)  # [n, 2]
        n = len(identity)
        if not self.strength:
            return torch.ones(n, dtype=torch.float64), state
        if cosines is None:  # nothing new is known of them, and nothing is forgotten
            return self.weight(recalled(state, identity, RECORD).double()), state
        evidence = alikeness(cosines, self.peers).clamp(LOW, HIGH)  # [n]
        past = recalled(state, identity, RECORD, evidence.device).double()  # [n, 4]
        faded = past.view(n, 2, 2) * past.new_tensor([self.long, self.short])[:, None]  # [n, 2, 2]
        now = torch.stack([evidence, torch.ones_like(evidence)], dim=1)  # [n, 2]
        record = (faded + now[:, None]).view(n, RECORD)
        after = remembered(state, identity, record.float(), round_.number, self.capacity)
        return self.weight(record), after

    def weight(self, record: Tensor) -> Tensor:
        """w_u from records [n, 4] -> [n]."""
        ratio = rating(record) / self.tolerance  # r_u/t  [n]
        weight = (1 + self.strength * (ratio - 1).clamp_min(0)) ** -2
        return torch.where(ratio > self.quarantine, 0.0, weight)


def encoder_cosines(encoders: Tensor, generator: torch.Generator) -> Tensor:
    """Cosines of D_u/‖D_u‖ − mean_v D_v/‖D_v‖, and 0 of one with itself: [n, P] -> float32 [n, n].

    Devices that carry one poison stay alike when what all learn is taken away, and people do not. Of equal
    length first, so that no device alone decides what all learn, and small updates, those of short histories,
    are not alike for being small.
    """
    return folded_cosines(encoders, generator, beyond_mean=True).fill_diagonal_(0.0)


def alikeness(cosines: Tensor, peers: float) -> Tensor:
    """Mean cosine to the nearest ``peers`` of the others, less its median: [n, n] -> float64 [n]."""
    n = len(cosines)
    near = max(1, round(peers * (n - 1)))
    others = cosines.clone().fill_diagonal_(-math.inf)  # [n, n]
    nearest = others.topk(near, dim=1, sorted=False).values.mean(dim=1).double()  # [n]
    return nearest - middle(nearest)


def rating(record: Tensor) -> Tensor:
    """r from (Σ a^k x, Σ a^k) of each memory: [n, 4] -> [n]."""
    return torch.maximum(record[:, 0] / (1 + record[:, 1]), record[:, 2] / (1 + record[:, 3]))
