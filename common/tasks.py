"""What the server asks of a node, and the sums a node answers an evaluation with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from common.codes import Codes
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.sampling import Sample

GROUPS = ("all", "q1", "q2", "q3", "q4")
"""Every device, then the quartiles of history length, shortest first."""

CUTS = (5, 10, 20)
ACCURACY = (*(f"{name}@{k}" for name in ("hr", "ndcg") for k in CUTS), "mrr")
METRICS = (*ACCURACY, *(f"{name}_unfiltered" for name in ACCURACY))
EXPOSURES = tuple(f"{name}@{k}" for name in ("er", "t_ndcg") for k in CUTS)
GROUP_EXPOSURES = tuple(f"er_group@{k}" for k in CUTS)


Asked = tuple[int, Tensor]
"""A node, and the numbers int64 [m] of the devices that one message to it asks for."""


@dataclass(frozen=True)
class GlobalModel:
    """The shared parameters: encoder float32 [P] (flat) and table float32 [R + 1, d] (row 0 pads).

    Without ``codes`` row i is the embedding of item i, and R = N; with them items share rows
    (:mod:`common.codes`). Whoever needs an item's embedding asks :meth:`embed`.
    """

    encoder: Tensor
    table: Tensor
    codes: Codes | None = None

    def to(self, device: torch.device) -> GlobalModel:
        return GlobalModel(self.encoder.to(device), self.table.to(device), self.codes)

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue."""
        return self.table.shape[0] - 1 if self.codes is None else self.codes.num_items

    def numbers(self, items: Tensor) -> Tensor:
        """Rows of the table that make up each item: [...] -> int64 [..., B], B = 1 without codes."""
        return items.long()[..., None] if self.codes is None else self.codes.of(items)

    def embed(self, items: Tensor) -> Tensor:
        """Embeddings of items, int64 [...] -> [..., d]."""
        if self.codes is None:
            return self.table[items]
        return self.codes.embed(self.table, items.flatten()).view(*items.shape, -1)

    @cached_property
    def embeddings(self) -> Tensor:
        """Those of the whole catalogue, [N + 1, d]; with codes they are made: for small catalogues."""
        if self.codes is None:
            return self.table
        return self.embed(torch.arange(self.num_items + 1, device=self.table.device))

    def block(self, first: int, end: int) -> Tensor:
        """Embeddings of items ``first`` to ``end`` - 1: [end - first, d]; without codes a view."""
        if self.codes is None:
            return self.table[first:end]
        return self.embed(torch.arange(first, end, device=self.table.device))

    def onto_rows(self, values: Tensor) -> Tensor:
        """Values of the items [N + 1, …], summed over each row's items: [R + 1, …]."""
        return values if self.codes is None else self.codes.onto_rows(values)


@dataclass(frozen=True)
class TrainTask:
    """Train ``devices`` (int64 [m], the node's own numbers) on the slice of this round.

    items int32 [m·K] unique: what the loss scores, the m slices of the round (``train.slices``) one after
    the other, each sorted; log_q float32 [m·K], log of the inclusion probabilities. nonce: text that all
    nodes get in this round and none can know before; it tells nothing about what the server draws.
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
    def rows(self) -> Tensor:
        """Rows of the table that are trained and sent, int32 [R]: those of the items, [m, K] of several
        slices, or with codes all."""
        if self.model.codes is not None:
            return torch.arange(1, len(self.model.table), dtype=torch.int32, device=self.items.device)
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

    quartiles: upper bounds (inclusive) of history length of the first three quartiles. group: an item, 0 for
    none; exposure is measured within the users who hold it as well.
    """

    run: str
    round: int
    model: GlobalModel
    model_config: ModelConfig
    split: Literal["valid", "test"]
    targets: tuple[int, ...]
    quartiles: tuple[int, int, int]
    sample: Sample | None = None
    group: int = 0

    @property
    def exposures(self) -> int:
        """Rows of the exposure that is asked for: one a target, and with a group one more a target."""
        return len(self.targets) * (2 if self.group else 1)


@dataclass(frozen=True)
class EvaluateSums:
    """Sums over the node's devices, so that no single ranking leaves it.

    metrics   float64 [len(GROUPS), len(METRICS)]      sums
    count     int64   [len(GROUPS)]                    devices summed; quartiles may be kept back: all zero
    exposure  float64 [T, len(EXPOSURES)]              sums over devices without the target
    eligible  int64   [T]                              such devices
    quartiles bounds that the groups were made with: the first that the node was asked for
    epsilon   of randomised response (common.response); 0 for exact sums
    recurring devices whose answer is in the history before it; of randomised response none are told

    T is the number of targets, or twice that: where the task has a group, the same again within it.
    """

    metrics: Tensor
    count: Tensor
    exposure: Tensor
    eligible: Tensor
    quartiles: tuple[int, int, int] = (0, 0, 0)
    epsilon: float = 0.0
    recurring: float = 0.0


@dataclass(frozen=True)
class Enrolment:
    """The devices a node stands for: numbers int64 [m], ascending and unique; history int32 [m] (claims).

    catalogue: the fingerprint of which item has which number (:func:`common.data.digest.catalogue_digest`).
    """

    devices: Tensor
    history: Tensor
    catalogue: str = ""
