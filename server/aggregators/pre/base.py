"""A pre-aggregator is a matrix: u' = M·u, so that G' = M·G·Mᵀ and a rule's weights go back as Mᵀ·w."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from common.errors import RunError
from common.updates import DeviceUpdates
from server.aggregators.base import (
    Aggregate,
    Aggregator,
    GramRule,
    Round,
    State,
    enough,
    weighted_sum,
)
from server.aggregators.gram import gram
from server.aggregators.memory import Identity, signed

SEARCHED = 64
"""A round this many times as large as the rule asks for is as large as any."""


class Mixer(ABC):
    """A pre-aggregator, a frozen record of its parameters."""

    name: ClassVar[str]

    def left(self, n: int, byzantine: int) -> int:
        """How many updates n become."""
        return n

    def least(self, byzantine: int) -> int:
        """The fewest updates it is defined for."""
        return 1

    @abstractmethod
    def matrix(self, products: Tensor, round_: Round) -> Tensor:
        """M float64 [m, n] from G float64 [n, n]."""


@dataclass(frozen=True)
class Composed(Aggregator):
    """``rule`` after one or more mixers. A Gram-space rule never sees the mixed updates themselves."""

    mixers: tuple[Mixer, ...]
    rule: Aggregator

    name: ClassVar[str] = "composed"

    @property
    def rooted(self) -> bool:  # type: ignore[override]
        return self.rule.rooted

    @property
    def sliced(self) -> bool:  # type: ignore[override]
        return self.rule.sliced

    def init(self) -> State:
        return self.rule.init()

    def title(self) -> str:
        return " after ".join([self.rule.name, *(mixer.name for mixer in reversed(self.mixers))])

    def least(self, byzantine: int) -> int:
        wanted = self.rule.least(byzantine)
        first = max(wanted, *(mixer.least(byzantine) for mixer in self.mixers))
        for n in range(first, SEARCHED * first + 1):
            if self._left(n, byzantine) >= wanted:
                return n
        raise RunError(
            f"{self.title()}: no number of devices leaves the {wanted} updates that {self.rule.name} needs "
            f"against {byzantine} byzantine devices"
        )

    def _left(self, n: int, byzantine: int) -> int:
        for mixer in self.mixers:
            n = mixer.left(n, byzantine)
        return n

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), round_.byzantine, self.title())
        products = gram(updates)
        total: Tensor | None = None
        origin = torch.arange(n, device=products.device)  # the device that a mixed update stands for
        for mixer in self.mixers:
            mixing = mixer.matrix(products, round_)  # [m, n]
            products = mixing @ products  # [m, n]; two steps, so that the one before is freed between them
            products = products @ mixing.T  # [m, m]
            total = mixing if total is None else mixing @ total  # [m, n]
            if len(mixing) < len(origin):
                origin = origin[mixing.argmax(dim=1)]  # a bucket stands for its first member
        assert total is not None
        # more devices may leave fewer updates, so the bound at the door is not enough
        enough(self.rule, len(products), round_.byzantine, self.title())
        round_ = replace(round_, identity=Identity(signed(round_.identity)[origin.cpu()]))
        if isinstance(self.rule, GramRule) and self.rule.in_gram_space:
            found = self.rule.weigh(products, state, round_)
            weights = (found.weights @ total).float()  # [m] @ [m, n]
            encoder, rows = weighted_sum(updates, weights)
            return Aggregate(encoder, rows, weights, found.figures), found.state
        del products, mixing
        result, after = self.rule(mixed(updates, total, origin), state, round_)
        result = replace(result, alike=None)  # mixtures were compared, not devices
        if result.weights is None:
            return result, after
        return replace(result, weights=(result.weights.double() @ total).float()), after


def mixed(updates: DeviceUpdates, matrix: Tensor, origin: Tensor) -> DeviceUpdates:
    """The updates M·u for rules that read values; M [m, n].

    A mixed row counts as touched where one of its parts is. History and device are those of the device
    that it stands for: ``origin`` [m].
    """
    shares = matrix.float()
    touched = None if updates.touched is None else (shares != 0).float() @ updates.touched.float() > 0
    return DeviceUpdates(
        encoder=shares @ updates.encoder,
        rows=torch.einsum("mn,nkd->mkd", shares, updates.rows),
        items=updates.items,
        history=updates.history[origin],
        device=updates.device[origin],
        touched=touched,
    )
