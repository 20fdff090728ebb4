"""One aggregate of a round with several slices: the encoder of all devices, each row of those who trained it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.errors import ConfigError, RunError
from common.updates import DeviceUpdates
from server.aggregators import Aggregate, Aggregator, Round, State
from server.aggregators.memory import Identity, signed

Setting = Callable[[DeviceUpdates, Identity], Round]
"""The round as the rule sees it with these devices of it in the order given."""


@dataclass(frozen=True)
class Combined:
    """What a rule made of a round: the aggregate, its rows those of ``items`` int32 [K], and the next state."""

    aggregate: Aggregate
    items: Tensor
    state: State


def combine(
    rule: Aggregator, updates: DeviceUpdates, identity: Identity, state: State, setting: Setting
) -> Combined:
    """The rule on the round. With one slice it is called once, on what the devices sent.

    With m slices it is called m + 1 times: on the encoders of all devices, beside one row of zeros, and on the
    whole updates of those who trained slice j, for each j. The first call gives the aggregate of the encoder and
    the next state, the others the rows of their slice; all start from the same state. So each block is judged
    against all that is comparable: rows of different items are never compared, and the encoder is judged by
    encoders alone. A device weighs the least of its share in the encoder and of its share in its slice times
    n_j/n; figures are means over the slices, by devices. The rows of a slice with too few devices for the
    rule rest. O(n·(P + K·d)) values are read and no row is copied.
    Raises RunError where all slices rest, or the rule fails on the encoders.
    """
    if updates.slice is None:
        aggregate, after = rule(updates, state, setting(updates, identity))
        return Combined(aggregate, updates.items, after)
    whole, after = rule(_encoders(updates), state, setting(_encoders(updates), identity))
    weights, n = whole.weights, len(updates)
    rows, items, figures, heard = [], [], dict[str, float](), 0
    resting = ""
    for places, part in updates.by_slice():
        try:
            found, _ = rule(part, state, setting(part, identity.take(places)))
        except RunError as few:
            resting = str(few)
            continue
        rows.append(found.rows)
        items.append(part.items)
        share, heard = len(part) / n, heard + len(part)
        if weights is not None and found.weights is not None:
            places = places.to(weights.device)
            weights = weights.index_copy(0, places, torch.minimum(weights[places], found.weights * share))
        for name, value in found.figures.items():
            figures[name] = figures.get(name, 0.0) + value * len(part)
    if not rows:
        raise RunError(f"no slice has enough devices: {resting}")
    figures = {name: value / heard for name, value in figures.items()} | {"slices_trained": float(len(rows))}
    trained = torch.cat(items)
    order = trained.argsort()
    aggregate = Aggregate(whole.encoder, torch.cat(rows)[order], weights, figures)
    return Combined(aggregate, trained[order], after)


def _encoders(updates: DeviceUpdates) -> DeviceUpdates:
    """The encoders beside a row of zeros: no inner product, norm or vote on the encoder feels it."""
    nothing = updates.rows.new_zeros(len(updates), 1, updates.rows.shape[2])
    return replace(updates, rows=nothing, items=updates.items[0, :1], slice=None)


def spread(updates: DeviceUpdates, places: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
    """Items int32 [M] of all slices, and marks int8 [n, M] on them, 0 on those of other slices.

    marks int8 [n, K] are of the devices at ``places`` int64 [n], on the rows of their own slices.
    A byte a device and item; the rows themselves are never spread.
    """
    if updates.slice is None:
        return updates.items, marks
    (n, size), count = marks.shape, len(updates.items)
    whole = marks.new_zeros(n, count, size)
    number = updates.slice[places.to(updates.slice.device)].to(marks.device)  # [n]
    whole[torch.arange(n, device=marks.device), number] = marks
    return updates.items.flatten(), whole.view(n, count * size)


def check_slices(rule: Aggregator, slices: int, noise: float, num_items: int) -> None:
    """Raise ConfigError before the run for what cannot be with several slices."""
    if slices == 1:
        return
    if not rule.sliced:
        raise ConfigError(
            f"train.slices = {slices}: strategy.aggregator {rule.name!r} judges encoder and rows together over "
            "the rounds; expected 1, or a rule that `fedsieve list aggregators` names for several slices"
        )
    if noise:
        raise ConfigError(
            f"train.slices = {slices} beside client.noise = {noise:g}: which slice a device takes has no noise, "
            "so that ε would not hold; expected 1"
        )
    if slices > num_items:
        raise ConfigError(f"train.slices = {slices} of {num_items} items: at most {num_items}")
