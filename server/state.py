"""What the server carries from round to round; everything a resumed run needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from common.tasks import GlobalModel


@dataclass(frozen=True)
class ServerState:
    """State after ``round`` finished rounds. Draws are seeded by round, so no generator is kept.

    pulls, seen  float64 [N]: see :mod:`server.popularity`
    """

    round: int
    model: GlobalModel
    optimizer: Mapping[str, Tensor]
    aggregator: Mapping[str, Tensor]
    constraints: Mapping[str, Tensor]
    pulls: Tensor
    seen: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by a flat name, for a file."""
        named = {
            "model/encoder": self.model.encoder,
            "model/table": self.model.table,
            "pulls": self.pulls,
            "seen": self.seen,
        }
        for part in ("optimizer", "aggregator", "constraints"):
            named |= {f"{part}/{key}": value for key, value in getattr(self, part).items()}
        return named

    @staticmethod
    def from_tensors(round_: int, named: Mapping[str, Tensor]) -> ServerState:
        """The inverse of :meth:`tensors`. Raises KeyError if one is missing."""

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{name}/"): v for k, v in named.items() if k.startswith(f"{name}/")}

        return ServerState(
            round=round_,
            model=GlobalModel(named["model/encoder"], named["model/table"]),
            optimizer=part("optimizer"),
            aggregator=part("aggregator"),
            constraints=part("constraints"),
            pulls=named["pulls"],
            seen=named["seen"],
        )


def no_counts(num_items: int) -> Tensor:
    """Zeros float64 [N]."""
    return torch.zeros(num_items, dtype=torch.float64)
