"""The contract of a representation constraint, and their chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from common.probes import Audience
from common.tasks import GlobalModel
from server.constraints.panel import RoundMarks
from server.optimizers import ParameterUpdate, State

Outcome = tuple[ParameterUpdate, State, dict[str, float]]
"""The permitted change, the next state, and figures for the audit."""

Users = Callable[[ParameterUpdate, int, float], Audience]
"""P users that the server makes up, of tastes up to a strength, after a change (common/probes.py)."""


@dataclass(frozen=True)
class Evidence:
    """What the server knows beside the model.

    popularity  float64 [N]: the running estimate of how many hold an item (server/round/popularity.py)
    users       what the model makes of users that the server makes up
    round_marks which devices pulled which rows in this round (server/constraints/panel.py)
    witnesses   states of real users, so many a device, as their updates show them (server/round/evidence.py)
    """

    popularity: Tensor
    users: Users
    round_marks: RoundMarks
    witnesses: Callable[[int], Audience]


class Constraint(Protocol):
    """Limits a change of the model. Pure: state in and state out, the given change stays as it is."""

    def init(self, start: GlobalModel) -> State:
        """The state before the first round."""
        ...

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        """The permitted part of ``delta``, which is about to be added to ``model``."""
        ...


@dataclass(frozen=True)
class Chain:
    """Constraints one after the other; the state of the i-th lives under ``i/``."""

    parts: tuple[Constraint, ...]

    def init(self, start: GlobalModel) -> State:
        return {
            f"{i}/{key}": value
            for i, part in enumerate(self.parts)
            for key, value in part.init(start).items()
        }

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        after: dict[str, Tensor] = {}
        figures: dict[str, float] = {}
        for i, part in enumerate(self.parts):
            own = {k.removeprefix(f"{i}/"): v for k, v in state.items() if k.startswith(f"{i}/")}
            delta, own_after, own_figures = part(model, delta, own, evidence)
            after |= {f"{i}/{key}": value for key, value in own_after.items()}
            figures |= own_figures
        return delta, after, figures


def at_shares(ordered: Tensor, share: Tensor) -> Tensor:
    """Quantiles of ascending values [N] at shares [K], linear between ranks; torch.quantile ends at 2²⁴."""
    place = share.to(ordered) * (len(ordered) - 1)  # [K]
    below = place.floor().long()  # [K]
    above = (below + 1).clamp(max=len(ordered) - 1)
    return torch.lerp(ordered[below], ordered[above], place - below)


def quantile(values: Tensor, q: float) -> float:
    """The ``q`` quantile of a vector of any length, linear between ranks, in float64."""
    return float(at_shares(values.double().sort().values, torch.tensor([q], dtype=torch.float64)))


def share(mask: Tensor) -> float:
    """The share of true entries of a bool vector."""
    return float(mask.double().mean())
