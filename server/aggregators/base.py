"""The contract of an aggregation rule: pure, state in and state out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from common.updates import DeviceUpdates

State = Mapping[str, Tensor]
"""What a rule carries from round to round: named tensors, so that a checkpoint can hold it."""


@dataclass(frozen=True)
class Round:
    """What a rule may know of the round beside the updates.

    byzantine  how many devices of this round are assumed malicious (an upper bound)
    identity   (node, device) of each update: authenticated node, the node's device number
    generator  the only source of randomness a rule may use
    """

    byzantine: int
    identity: tuple[tuple[int, int], ...]
    generator: torch.Generator
    number: int = 1


@dataclass(frozen=True)
class Aggregate:
    """One update for the global model.

    encoder [P], rows [K, d]; weights [n] in [0, 1] are each device's share in it (for the audit;
    None where a rule works on values and devices have no single weight); figures are audited.
    """

    encoder: Tensor
    rows: Tensor
    weights: Tensor | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class Aggregator(Protocol):
    """A rule. Calling it never changes or aliases the updates it is given."""

    def init(self) -> State:
        """The state before the first round."""
        ...

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        """Combine the updates of one round. Raises RunError when n is too small for the rule."""
        ...


def weighted_sum(updates: DeviceUpdates, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_u w_u·update_u as (encoder [P], rows [K, d]); one matrix–vector product a block."""
    n = len(updates)
    encoder = weights @ updates.encoder  # [n] @ [n, P] -> [P]
    rows = weights @ updates.rows.reshape(n, -1)  # [n] @ [n, K·d] -> [K·d]
    return encoder, rows.reshape(updates.rows.shape[1:])
