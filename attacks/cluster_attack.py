"""ClusterAttack: item rows are drawn together into few dense clusters, whose members look alike to all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from flwr.app import ConfigRecord, RecordDict
from torch import Tensor

from attacks.base import Attack, View
from attacks.estimates import own_rows
from attacks.kmeans import kmeans
from common.checks import positive
from common.seeding import generator
from common.updates import DeviceUpdates

MEMORY = "cluster_attack"


@dataclass(frozen=True)
class ClusterAttack(Attack):
    """row_i := (μ + spread·r_i·σ) · (c_κ(i) − e_i)/‖c_κ(i) − e_i‖ with r_i ~ U(0, 1); the encoder is honest.

    The step down L = 1/C Σ_i ‖e_i − c_κ(i)‖², k-means centroids c of the whole table, in rows as long as the
    attackers' own honest ones (μ, σ of their norms). C starts at ``clusters``; when the debiased average of L
    (decay .999) has risen ``patience`` rounds more than fallen, C += √(most − C), when it has fallen so
    much more, C −= √(C − 1), kept in the node's memory. Yu et al. 2023 (arXiv 2212.05399); there the
    patience grows, here it stays. k-means starts at points drawn by run and C, not by round: clusters last.
    """

    clusters: int = 2
    most: int = 50
    patience: int = 100
    spread: float = 3.0
    decay: float = 0.999

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 2212.05399"

    def __post_init__(self) -> None:
        if not 1 <= self.clusters <= self.most:
            raise ValueError(f"1 <= clusters <= most is needed, given {self.clusters} and {self.most}")
        positive(spread=self.spread)
        if self.patience < 1 or not 0 <= self.decay < 1:
            raise ValueError("patience must be at least 1 and decay lie in [0, 1)")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        busy = updates.rows.flatten(1).any(dim=1)  # [n]
        if not bool(busy.any()):
            return updates
        items = view.task.model.table[1:]  # [N, d]; row 0 is padding
        # Rows that are clusters of their own would not move: at least two share one.
        count = min(self._count(view.memory, view.task.round), max(1, len(items) // 2))
        centroids, cluster = kmeans(items, count, generator(view.seed, MEMORY, count))
        gap = centroids[cluster] - items  # [N, d]
        self._adapt(view.memory, float(gap.square().sum()) / count, view.task.round)
        own = busy[:, None] if updates.touched is None else updates.touched
        norms = updates.row_norms[own.expand(updates.rows.shape[:2])]
        drawn = torch.rand(*updates.rows.shape[:2], 1, generator=view.generator).to(norms)  # [n, K, 1]
        size = norms.mean() + self.spread * drawn * norms.std(correction=0)
        rows = size * unit(gap[updates.items.long() - 1])  # [n, K, d]
        return replace(updates, encoder=updates.encoder.clone(), rows=own_rows(updates, rows))

    def _count(self, memory: RecordDict, round_: int) -> int:
        """C of a round; what its first L has changed holds from the next round on."""
        kept = memory.config_records.get(MEMORY, ConfigRecord())
        name = "used" if kept.get("round") == round_ else "clusters"
        return int(kept.get(name, self.clusters))  # type: ignore[arg-type]

    def _adapt(self, memory: RecordDict, loss: float, round_: int) -> None:
        """L into the memory, once a round, though each slice and each message of it asks.

        Kept: clusters, average, rounds averaged, last average, rises − falls; the round and what it used.
        """
        kept = memory.config_records.get(MEMORY, ConfigRecord())
        if kept.get("round") == round_:
            return
        used = self._count(memory, round_)
        clusters = int(kept.get("clusters", self.clusters))  # type: ignore[arg-type]
        rounds = int(kept.get("rounds", 0)) + 1  # type: ignore[arg-type]
        average = self.decay * float(kept.get("average", 0.0)) + (1 - self.decay) * loss  # type: ignore[arg-type]
        debiased = average / (1 - self.decay**rounds)
        balance = int(kept.get("balance", 0))  # type: ignore[arg-type]
        if rounds > 1:
            balance += 1 if debiased > float(kept["debiased"]) else -1  # type: ignore[arg-type]
        if abs(balance) >= self.patience:
            step = math.sqrt(self.most - clusters) if balance > 0 else -math.sqrt(clusters - 1)
            clusters = min(max(round(clusters + step), 1), self.most)
            rounds, average, debiased, balance = 0, 0.0, 0.0, 0
        memory[MEMORY] = ConfigRecord(
            {
                "clusters": clusters,
                "rounds": rounds,
                "average": average,
                "debiased": debiased,
                "balance": balance,
                "round": round_,
                "used": used,
            }
        )


def unit(rows: Tensor) -> Tensor:
    """Each row [K, d] at length 1; a row of no length to speak of stays as short."""
    return torch.nn.functional.normalize(rows, dim=1)
