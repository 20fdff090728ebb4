"""What the server carries from round to round; everything a resumed run needs."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from common.config import RunConfig
from common.device import CPU
from common.seeding import subkey
from common.tasks import GlobalModel

KEY_BYTES = 32


def server_key(config: RunConfig) -> bytes:
    """256 bits that every draw of the server comes from, and that only the server has.

    Fresh for each run; the same for the same ``strategy.secret`` and ``seed`` where one is set.
    """
    if not config.strategy.secret:
        return secrets.token_bytes(KEY_BYTES)
    return subkey(hashlib.sha256(config.strategy.secret.encode()).digest(), config.seed)


@dataclass(frozen=True)
class ServerState:
    """State after ``round`` finished rounds. Draws are keyed by round, so no generator is kept.

    pulls, trained  float64 [N]: see :mod:`server.round.popularity`; ``seen`` in a file
    secret       the run's own key (:func:`server_key`): in a checkpoint, and nowhere else
    best         the best model so far, and when it was (:mod:`server.evaluation.early_stopping`)
    roster       which node came when and with which devices (:mod:`server.nodes.roster`)
    """

    round: int
    model: GlobalModel
    optimizer: Mapping[str, Tensor]
    aggregator: Mapping[str, Tensor]
    constraints: Mapping[str, Tensor]
    pulls: Tensor
    trained: Tensor
    secret: bytes = field(repr=False)
    roster: Mapping[str, Tensor] = field(default_factory=dict)
    best: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by a flat name, for a file."""
        named = {
            "model/encoder": self.model.encoder,
            "model/table": self.model.table,
            "pulls": self.pulls,
            "seen": self.trained,
            "secret": torch.tensor(list(self.secret), dtype=torch.uint8),
        }
        for part in ("optimizer", "aggregator", "constraints", "roster", "best"):
            named |= {f"{part}/{key}": value for key, value in getattr(self, part).items()}
        return named

    def to(self, device: torch.device) -> ServerState:
        """The state with model, counts and what rules keep on ``device``; the roster stays on the CPU."""

        if self.model.table.device == device:
            return self

        def moved(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device) for name, tensor in named.items()}

        return replace(
            self,
            model=self.model.to(device),
            optimizer=moved(self.optimizer),
            aggregator=moved(self.aggregator),
            constraints=moved(self.constraints),
            pulls=self.pulls.to(device),
            trained=self.trained.to(device),
            best=moved(self.best),
        )

    @staticmethod
    def from_tensors(round_: int, named: Mapping[str, Tensor]) -> ServerState:
        """The inverse of :meth:`tensors`, but for the model's codes. Raises KeyError if one is missing."""

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{name}/"): v for k, v in named.items() if k.startswith(f"{name}/")}

        return ServerState(
            round=round_,
            model=GlobalModel(named["model/encoder"], named["model/table"]),
            optimizer=part("optimizer"),
            aggregator=part("aggregator"),
            constraints=part("constraints"),
            pulls=named["pulls"],
            trained=named["seen"],
            secret=bytes(named["secret"].tolist()),
            roster=part("roster"),
            best=part("best"),
        )


def no_counts(num_items: int, device: torch.device = CPU) -> Tensor:
    """Zeros float64 [N]."""
    return torch.zeros(num_items, dtype=torch.float64, device=device)
