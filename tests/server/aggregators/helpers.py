"""Small rounds with known properties, and obvious float64 views of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from common.settings import component
from common.updates import DeviceUpdates
from experiments.contracts.aggregators import D as D
from experiments.contracts.aggregators import K as K
from experiments.contracts.aggregators import P as P
from experiments.contracts.aggregators import a_round as a_round
from experiments.contracts.aggregators import classic as classic
from experiments.contracts.aggregators import flat_of as flat_of
from experiments.contracts.aggregators import make_updates as make
from experiments.contracts.aggregators import served as served
from server.aggregators import Aggregate, State, build_aggregator


def from_flat(flat: Tensor, like: DeviceUpdates) -> DeviceUpdates:
    """The updates whose flattened form is ``flat`` [n, P + K·D]."""
    width = like.encoder.shape[1]
    rows = flat[:, width:].reshape(-1, *like.rows.shape[1:])
    return replace(like, encoder=flat[:, :width].contiguous(), rows=rows.contiguous())


def flat(updates: DeviceUpdates) -> Tensor:
    """Whole updates as float64 [n, P + K·D]."""
    return torch.cat([updates.encoder, updates.rows.flatten(1)], dim=1).double()


def apply(
    name: str, updates: DeviceUpdates, f: int = 0, state: State | None = None, **params: object
) -> Aggregate:
    """One round of a rule from its first state."""
    rule = build_aggregator(component(name, **params))
    result, _ = rule(updates, rule.init() if state is None else state, served(updates, f))
    return result


def attacked(honest: int, malicious: int, distance: float, seed: int = 0) -> DeviceUpdates:
    """Honest updates first, then ``malicious`` equal ones far away in one direction."""
    updates = make(honest + malicious, seed)
    values = flat(updates).float()
    values[honest:] = distance / values.shape[1] ** 0.5
    return from_flat(values, updates)
