"""Small rounds with known properties, and obvious float64 views of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from common.settings import component
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.aggregators import Aggregate, Round, State, build_aggregator

P, K, D = 7, 5, 3


def make(n: int, seed: int = 0, scale: float = 1.0, offset: float = 0.0, width: int = P) -> DeviceUpdates:
    """n Gaussian updates, each with its own size, around a common offset."""
    g = torch.Generator().manual_seed(seed)
    size = scale * (0.5 + torch.rand(n, 1, generator=g))
    return DeviceUpdates(
        encoder=size * torch.randn(n, width, generator=g) + offset,
        rows=size[:, :, None] * torch.randn(n, K, D, generator=g) + offset,
        items=torch.arange(1, K + 1, dtype=torch.int32),
        history=torch.randint(1, 50, (n,), generator=g, dtype=torch.int32),
        device=torch.arange(n),
    )


def from_flat(flat: Tensor, like: DeviceUpdates) -> DeviceUpdates:
    """The updates whose flattened form is ``flat`` [n, P + K·D]."""
    width = like.encoder.shape[1]
    rows = flat[:, width:].reshape(-1, *like.rows.shape[1:])
    return replace(like, encoder=flat[:, :width].contiguous(), rows=rows.contiguous())


def flat(updates: DeviceUpdates) -> Tensor:
    """Whole updates as float64 [n, P + K·D]."""
    return torch.cat([updates.encoder, updates.rows.flatten(1)], dim=1).double()


def flat_of(result: Aggregate) -> Tensor:
    """The aggregate as float64 [P + K·D]."""
    return torch.cat([result.encoder, result.rows.flatten()]).double()


def a_round(n: int, byzantine: int = 0, seed: int = 5) -> Round:
    return Round(byzantine, tuple((i, i) for i in range(n)), torch.Generator().manual_seed(seed))


def served(updates: DeviceUpdates, byzantine: int = 0, seed: int = 5) -> Round:
    """The round as the pipeline makes it: with a model, and the mean update as that of a trusted device."""
    g = torch.Generator().manual_seed(seed)
    table = torch.randn(int(updates.items.max()) + 1, updates.rows.shape[2], generator=g)
    model = GlobalModel(torch.randn(updates.encoder.shape[1], generator=g), table)
    root = replace(
        updates.take(torch.tensor([0])),
        encoder=updates.encoder.mean(dim=0, keepdim=True),
        rows=updates.rows.mean(dim=0, keepdim=True),
    )
    return replace(a_round(len(updates), byzantine, seed), model=model, root=root)


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


def classic(n: int, seed: int, share: float = 0.4) -> DeviceUpdates:
    """A round of ``negatives: device``: each device holds some rows, the others are 0."""
    updates = make(n, seed)
    g = torch.Generator().manual_seed(seed)
    touched = torch.rand(n, updates.rows.shape[1], generator=g) < share
    return replace(updates, rows=updates.rows * touched[:, :, None], touched=touched)
