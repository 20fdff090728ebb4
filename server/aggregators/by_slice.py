"""A rule on a round with several slices: the encoder of all devices, each row of those who trained it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from common.errors import RunError
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State
from server.aggregators.memory import Identity, signed


@dataclass(frozen=True)
class BySlice(Aggregator):
    """``rule`` called m + 1 times for m slices: on the encoders of all n devices, and on the whole updates of
    the n_j that trained slice j, for each j.

    The first call gives the aggregate of the encoder and the next state, the others the rows of their slice;
    all start from the same state. Rows of different items are never compared: beside the encoders stands a
    row of zeros, or, for a rule that judges a device's rows by themselves (``rowwise``), the device's own. A
    device's weight is the lesser of its share in the encoder and of n_j/n times its
    share in its slice; figures are means over the slices, by devices. The rows of a slice with too few
    devices for the rule rest. No row is copied where the devices are in the order of their slices.

    bound: how many of so many devices are assumed malicious. A device chooses its slice, so that attackers on
    one item may all be in one slice: there the assumption is about them, not about the round.
    """

    rule: Aggregator
    bound: Callable[[int], int]

    name: ClassVar[str] = "by_slice"

    def init(self) -> State:
        return self.rule.init()

    def least(self, byzantine: int) -> int:
        return self.rule.least(byzantine)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        """Raises RunError where the rule fails on the encoders, or on every slice."""
        own_rows = replace(updates, items=updates.items[0], slice=None)  # by place in the slice of each
        whole, after = self.rule(own_rows if self.rule.rowwise else _encoders(updates), state, round_)
        identity, weights, n = Identity(signed(round_.identity)), whole.weights, len(updates)
        rows, items, heard, why = [], [], 0, ""
        figures: dict[str, float] = {}
        for places, part in updates.by_slice():
            byzantine = self.bound(len(part))
            own = replace(round_, byzantine=byzantine, identity=identity.take(places), step=None)
            try:
                found, _ = self.rule(part, state, own)
            except RunError as few:
                why = str(few)
                continue
            rows.append(found.rows)
            items.append(part.items)
            heard += len(part)
            if weights is not None and found.weights is not None:
                at, share = places.to(weights.device), len(part) / n
                weights = weights.index_copy(0, at, torch.minimum(weights[at], share * found.weights))
            for name, value in found.figures.items():
                figures[name] = figures.get(name, 0.0) + value * len(part)
        if not rows:
            raise RunError(f"no slice has enough devices: {why}")
        figures = {name: total / heard for name, total in figures.items()}
        trained = torch.cat(items)
        order = trained.argsort()
        figures["slices_trained"] = float(len(rows))
        joined = torch.cat(rows)[order]  # [m·K, d]
        return Aggregate(whole.encoder, joined, weights, figures, trained[order], whole.alike), after


def _encoders(updates: DeviceUpdates) -> DeviceUpdates:
    """The encoders beside a row of zeros: no inner product, norm or vote on the encoder feels it."""
    nothing = updates.rows.new_zeros(len(updates), 1, updates.rows.shape[2])
    return replace(updates, rows=nothing, items=updates.items[0, :1], slice=None)
