"""A model, a step, and one application of a constraint."""

from __future__ import annotations

import torch

from common.probes import Audience
from common.settings import component
from common.tasks import GlobalModel
from server.constraints import Evidence, build_constraints
from server.constraints.panel import RoundMarks
from server.optimizers import ParameterUpdate

N, D, K = 200, 4, 20


def model(seed: int = 0, scale: float = 1.0) -> GlobalModel:
    g = torch.Generator().manual_seed(seed)
    return GlobalModel(torch.zeros(6), scale * torch.randn(N + 1, D, generator=g))


def step(seed: int = 1, scale: float = 0.1) -> ParameterUpdate:
    g = torch.Generator().manual_seed(seed)
    items = (1 + torch.randperm(N, generator=g)[:K]).sort().values.int()
    encoder = {"a": scale * torch.randn(2, 2, generator=g), "b": scale * torch.randn(2, generator=g)}
    return ParameterUpdate(encoder, scale * torch.randn(K, D, generator=g), items)


def evidence(popularity: torch.Tensor | None = None, seed: int = 2) -> Evidence:
    """Item i is held by i devices, unless said; users around (1, 0, …)."""
    held = torch.arange(N, dtype=torch.float64) if popularity is None else popularity
    return Evidence(
        held, lambda after, count, taste: users(states(count, seed)), nothing_seen(), no_witnesses
    )


def users(states: torch.Tensor) -> Audience:
    """Users with these states who have seen nothing."""
    return Audience(torch.zeros(len(states), 1, dtype=torch.int64), states)


def no_witnesses(most: int) -> Audience:
    """Nobody pulled anything."""
    return Audience(torch.zeros(0, 1, dtype=torch.int64), torch.zeros(0, D))


def nothing_seen() -> RoundMarks:
    """A round that no device took part in."""
    empty = torch.zeros(0, dtype=torch.int32)
    return RoundMarks(1, [], empty, torch.zeros(0, 0, dtype=torch.int8))


def states(count: int, seed: int = 2) -> torch.Tensor:
    """Users around (1, 0, …)."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, D, generator=g) + torch.eye(D)[0]


def louder(delta: ParameterUpdate, rows: list[int], factor: float) -> ParameterUpdate:
    changed = delta.rows.clone()
    changed[rows] *= factor
    return ParameterUpdate(delta.encoder, changed, delta.items)


def length(delta: ParameterUpdate) -> float:
    return float(torch.cat([block.flatten() for block in delta.encoder.values()]).double().norm())


def apply(
    name: str, delta: ParameterUpdate, at: GlobalModel | None = None, **params: object
) -> tuple[ParameterUpdate, dict[str, float]]:
    chain = build_constraints([component(name, **params)])
    at = at or model()
    after, _, figures = chain(at, delta, chain.init(at), evidence())
    return after, figures
