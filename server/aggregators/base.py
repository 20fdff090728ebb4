"""The contract of an aggregation rule: pure, state in and state out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from common.errors import RunError
from common.models import Lengths
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.aggregators.gram import gram

State = Mapping[str, Tensor]
"""What a rule carries from round to round: named tensors, so that a checkpoint can hold it."""


@dataclass(frozen=True)
class Round:
    """What a rule may know of the round beside the updates.

    byzantine  how many devices of this round are assumed malicious (an upper bound)
    identity   (node, device) of each update: authenticated node, the node's device number
               (server/aggregators/memory.py has them as tensors)
    generator  the only source of randomness a rule may use
    number     the round's, from 1
    model      the global model that the devices were sent
    step       the change of the slice's item rows [K, d] if the server step were given these row updates
               [K, d] alone; nothing moves by asking
    root       updates of trusted devices on the round's own items, where a rule is ``rooted``
    interaction  the most that one interaction moves the row of its next item along unit vectors [m, d]: [m]

    Model, step and root are None where a rule is called without a server around it, and ``interaction`` also
    where the model cannot tell.
    """

    byzantine: int
    identity: Sequence[tuple[int, int]]
    generator: torch.Generator
    number: int = 1
    model: GlobalModel | None = None
    step: Callable[[Tensor], Tensor] | None = None
    root: DeviceUpdates | None = None
    interaction: Lengths | None = None

    def given(self, rule: str, what: Literal["model", "root"]) -> Any:
        """``model`` or ``root``. Raises RunError when the rule has to do without it."""
        found = getattr(self, what)
        if found is None:
            missing = {"model": "the global model", "root": "the update of a trusted node"}[what]
            raise RunError(f"{rule} needs {missing}, and this round has none")
        return found


@dataclass(frozen=True)
class Aggregate:
    """One update for the global model.

    encoder [P], rows [K, d]; weights [n] in [0, 1] are each device's share in it (for the audit;
    None where a rule works on values and devices have no single weight); figures are audited.
    items int32 [K]: whose rows they are, where they are not those of the updates.
    alike float32 [n, n]: cosines of the devices' encoders, what all learn taken away, 0 of one with itself;
    None where a rule does not compare them.
    """

    encoder: Tensor
    rows: Tensor
    weights: Tensor | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    items: Tensor | None = None
    alike: Tensor | None = None


class Aggregator(ABC):
    """A rule, a frozen record of its parameters. Calling it never changes or aliases the updates.

    family: what it reads of the updates: Gram space, coordinate, layer, or recommendation (item rows).
    rooted: whether it measures devices against ``Round.root``, the update of trusted ones.
    host: what it copies to the CPU in a round, for numpy or scikit-learn; never whole updates.
    constraints: those that belong to the recipe; a run has them unless ``strategy.constraints`` names others.
    sliced: whether it may be given encoders and the rows of each slice apart (by_slice.py). Not where it
    remembers rows, or its verdict on the encoder comes from rows alone.
    rowwise: whether it judges a device's rows by themselves and by the model, and never beside another's.
    """

    name: ClassVar[str]
    family: ClassVar[str] = "Gram space"
    rooted: ClassVar[bool] = False
    rowwise: ClassVar[bool] = False
    host: ClassVar[str] = ""
    constraints: ClassVar[tuple[str, ...]] = ()
    sliced: ClassVar[bool] = True

    def init(self) -> State:
        """The state before the first round."""
        return {}

    def least(self, byzantine: int) -> int:
        """The fewest updates the rule is defined for against ``byzantine`` malicious ones."""
        return 1

    @abstractmethod
    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        """Combine the updates of one round. Raises RunError when n is too small for the rule."""


def weighted_sum(updates: DeviceUpdates, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_u w_u·update_u as (encoder [P], rows [K, d]); one matrix–vector product a block."""
    chosen = weights.nonzero().flatten()
    if 0 < 8 * len(chosen) < len(updates):  # Krum reads one update, not all
        updates, weights = updates.take(chosen), weights[chosen]
    n = len(updates)
    encoder = weights @ updates.encoder  # [n] @ [n, P] -> [P]
    rows = weights @ updates.rows.reshape(n, -1)  # [n] @ [n, K·d] -> [K·d]
    return encoder, rows.reshape(updates.rows.shape[1:])


@dataclass(frozen=True)
class Weighed:
    """What a Gram-space rule finds: weights float64 [n], its next state, and figures for the audit."""

    weights: Tensor
    state: State = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


class GramRule(Aggregator):
    """A rule that needs inner products only: G [n, n] -> weights [n]; the aggregate is Σ w_i·u_i.

    The updates are read twice, once for G and once for the sum, whatever the rule iterates.
    Pre-aggregators mix updates by a matrix M, and such a rule then sees M·G·Mᵀ.
    """

    @property
    def in_gram_space(self) -> bool:
        """Whether G is all it reads. Where a setting makes it read values, mixers hand it mixed updates."""
        return True

    @abstractmethod
    def weigh(self, products: Tensor, state: State, round_: Round) -> Weighed:
        """Weights from G float64 [n, n], n ≥ ``least``. Raises RunError for what ``least`` cannot say."""

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        found = self.weigh(gram(updates), state, round_)
        weights = found.weights.float()
        encoder, rows = weighted_sum(updates, weights)
        return Aggregate(encoder, rows, weights, found.figures), found.state


def enough(rule: Aggregator, n: int, byzantine: int, name: str = "") -> None:
    """Raise RunError, stating the bound, when n updates are too few for the rule."""
    if n < (least := rule.least(byzantine)):
        against = f" against {byzantine} byzantine devices" if byzantine else ""
        raise RunError(f"{name or rule.name}{against} needs at least {least} updates, this round has {n}")


def sampled(updates: DeviceUpdates, share: float, generator: torch.Generator) -> Tensor:
    """The same ``share`` of all coordinates, at least one, of every update -> [n, b]."""
    rows = updates.rows.flatten(1)  # [n, K·d]
    width = updates.encoder.shape[1]
    total = width + rows.shape[1]
    chosen = torch.randperm(total, generator=generator)[: max(1, round(share * total))]
    chosen = chosen.to(rows.device)
    inside = chosen[chosen < width]
    return torch.cat([updates.encoder[:, inside], rows[:, chosen[chosen >= width] - width]], dim=1)
