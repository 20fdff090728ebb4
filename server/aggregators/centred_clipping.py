"""Centred clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import count, positive
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum
from server.aggregators.gram import gram, middle, products_with, shrink, squared_distances_to


@dataclass(frozen=True)
class CentredClipping(Aggregator):
    """v ← v + 1/n Σ (u_i − v)·min(1, τ/‖u_i − v‖), ``iterations`` times; v is the aggregate and is kept.

    v enters as one more row of the Gram matrix, so an iteration costs O(n²). τ is ``tau``, or without it
    ``relative`` times the median of ‖u_i − v‖, anew in each iteration: an absolute radius fits neither the
    first rounds nor the last. v starts at 0; item rows wait in the state until their item is in a slice
    again, so the state holds at most one table. weights are what the devices add in this round; the rest,
    up to 1, is what is left of the old v. Complexity O(n²·P). Breakdown point 1/2 (of the median distance);
    below it f devices shift v by at most τ·f/n an iteration. Reference: arXiv 2012.10333.
    """

    name: ClassVar[str] = "centred_clipping"
    sliced: ClassVar[bool] = False
    tau: float | None = None
    relative: float = 1.0
    iterations: int = 5

    def __post_init__(self) -> None:
        if self.tau is not None:
            positive(tau=self.tau)
        positive(relative=self.relative)
        count(1, iterations=self.iterations)

    def least(self, byzantine: int) -> int:
        return 2 * byzantine + 1

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), round_.byzantine)
        old = on_slice(state, updates)
        products = extended(gram(updates), *old, updates)  # [n + 1, n + 1]
        weights, radius = self.centre(products)
        encoder, rows = weighted_sum(updates, weights[:n].float())
        stay = float(weights[n])
        encoder, rows = encoder + stay * old[0], rows + stay * old[1]
        figures = {"centred_clipping.tau": radius, "centred_clipping.carried": stay}
        after = with_centre(state, updates, encoder, rows)
        return Aggregate(encoder, rows, weights[:n].float(), figures), after

    def centre(self, products: Tensor) -> tuple[Tensor, float]:
        """Weights of the updates and of the old centre [n + 1] (sum 1) in the new one; the last τ."""
        n = len(products) - 1
        weights = torch.zeros_like(products[0])
        weights[n] = 1
        for _ in range(self.iterations):
            away = squared_distances_to(products, weights)[:n].sqrt()  # ‖u_i − v‖  [n]
            radius = self.relative * middle(away) if self.tau is None else away.new_tensor(self.tau)
            pull = shrink(away, radius) / n  # [n]
            weights *= 1 - pull.sum()
            weights[:n] += pull
        return weights, float(radius)


def extended(products: Tensor, encoder: Tensor, rows: Tensor, updates: DeviceUpdates) -> Tensor:
    """G with the inner products of one more vector as its last row and column -> [n + 1, n + 1]."""
    moved = bool(encoder.any()) or bool(rows.any())
    across = products_with(updates, encoder, rows) if moved else products.new_zeros(len(updates))  # [n]
    own = encoder.double().square().sum() + rows.double().square().sum()
    n = len(products)
    whole = products.new_empty(n + 1, n + 1)
    whole[:n, :n], whole[:n, n], whole[n, :n], whole[n, n] = products, across, across, own
    return whole


def on_slice(state: State, updates: DeviceUpdates) -> tuple[Tensor, Tensor]:
    """The carried centre on this round's slice, (encoder [P], rows [K, d]); 0 where there is none."""
    rows = torch.zeros_like(updates.rows[0])
    if not state:
        return torch.zeros_like(updates.encoder[0]), rows
    known = torch.isin(updates.items, state["items"])  # [K]
    rows[known] = state["rows"][torch.searchsorted(state["items"], updates.items[known])]
    return state["encoder"], rows


def with_centre(state: State, updates: DeviceUpdates, encoder: Tensor, rows: Tensor) -> State:
    """The state with the new centre in it: items int32 [M] sorted, rows [M, d], encoder [P]."""
    before = state.get("items", updates.items[:0])
    items = torch.unique(torch.cat([before, updates.items]))  # sorted
    table = rows.new_zeros(len(items), rows.shape[1])
    if state:
        table[torch.searchsorted(items, before)] = state["rows"]
    table[torch.searchsorted(items, updates.items)] = rows
    return {"encoder": encoder.clone(), "items": items, "rows": table}
