"""What the server asks of a node, and the sums a node answers an evaluation with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from common.config import ClientConfig, ModelConfig, TrainConfig
from common.sampling import Sample

GROUPS = ("all", "q1", "q2", "q3", "q4")
"""Every device, then the quartiles of history length, shortest first."""

CUTS = (5, 10, 20)
METRICS = (
    *(f"{name}@{k}" for name in ("hr", "ndcg") for k in CUTS),
    "mrr",
    *(f"{name}@{k}_unfiltered" for name in ("hr", "ndcg") for k in CUTS),
    "mrr_unfiltered",
)
EXPOSURES = tuple(f"{name}@{k}" for name in ("er", "t_ndcg") for k in CUTS)


Asked = tuple[int, Tensor]
"""A node, and the numbers int64 [m] of the devices that one message to it asks for."""


@dataclass(frozen=True)
class GlobalModel:
    """The shared parameters: encoder float32 [P] (flat) and item table float32 [N + 1, d] (row 0 pads)."""

    encoder: Tensor
    table: Tensor


@dataclass(frozen=True)
class TrainTask:
    """Train ``devices`` (int64 [m], the node's own numbers) on the slice of this round.

    items int32 [m·K] unique: the m slices of the round (``train.slices``) one after the other, each sorted;
    log_q float32 [m·K], log of the inclusion probabilities. nonce: text that all nodes get in this round and
    none can know before; it tells nothing about what the server draws.
    """

    run: str
    round: int
    nonce: str
    model: GlobalModel
    items: Tensor
    log_q: Tensor
    devices: Tensor
    model_config: ModelConfig
    train_config: TrainConfig
    client_config: ClientConfig
    wire_dtype: Literal["float16", "float32"] = "float16"

    @property
    def slices(self) -> Tensor:
        """The items as :class:`common.updates.DeviceUpdates` has them: int32 [K], or [m, K] of several."""
        count = self.train_config.slices
        return self.items if count == 1 else self.items.view(count, -1)

    def of_slice(self, number: int) -> TrainTask:
        """The task of a device that takes slice ``number``: a round of this slice alone."""
        count, alone = self.train_config.slices, self.train_config.model_copy(update={"slices": 1})
        items, log_q = (part.view(count, -1)[number] for part in (self.items, self.log_q))
        return replace(self, items=items, log_q=log_q, train_config=alone)


@dataclass(frozen=True)
class EvaluateTask:
    """Rank the full catalogue for every device of the node, or for those of them that are in ``sample``.

    quartiles: upper bounds (inclusive) of history length of the first three quartiles.
    """

    run: str
    round: int
    model: GlobalModel
    model_config: ModelConfig
    split: Literal["valid", "test"]
    targets: tuple[int, ...]
    quartiles: tuple[int, int, int]
    sample: Sample | None = None


@dataclass(frozen=True)
class EvaluateSums:
    """Sums over the node's devices, so that no single ranking leaves it.

    metrics   float64 [len(GROUPS), len(METRICS)]      sums
    count     int64   [len(GROUPS)]                    devices summed; quartiles may be kept back: all zero
    exposure  float64 [len(targets), len(EXPOSURES)]   sums over devices without the target
    eligible  int64   [len(targets)]                   such devices
    quartiles bounds that the groups were made with: the first that the node was asked for
    epsilon   of randomised response (common.response); 0 for exact sums
    """

    metrics: Tensor
    count: Tensor
    exposure: Tensor
    eligible: Tensor
    quartiles: tuple[int, int, int] = (0, 0, 0)
    epsilon: float = 0.0


@dataclass(frozen=True)
class Enrolment:
    """The devices a node stands for: numbers int64 [m], ascending and unique; history int32 [m] (claims)."""

    devices: Tensor
    history: Tensor
