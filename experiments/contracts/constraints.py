"""What every representation constraint promises, and a model, a step and evidence that show it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from common.probes import Audience
from common.tasks import GlobalModel
from experiments.contracts import require
from server.constraints import Constraint, Evidence
from server.constraints.panel import RoundMarks
from server.optimizers import ParameterUpdate

N, D, K = 200, 4, 20
Make = Callable[[], Constraint]


def model(seed: int = 0, scale: float = 1.0) -> GlobalModel:
    """A model of N items."""
    g = torch.Generator().manual_seed(seed)
    return GlobalModel(torch.zeros(6), scale * torch.randn(N + 1, D, generator=g))


def step(seed: int = 1, scale: float = 0.1) -> ParameterUpdate:
    """A server step on K of the items."""
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


def users(found: torch.Tensor) -> Audience:
    """Users with these states who have seen nothing."""
    return Audience(torch.zeros(len(found), 1, dtype=torch.int64), found)


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
    """The step with these rows ``factor`` times as long."""
    changed = delta.rows.clone()
    changed[rows] *= factor
    return ParameterUpdate(delta.encoder, changed, delta.items)


def input_kept(make: Make) -> None:
    """Model, step and state that it is given stay as they are."""
    part, old = make(), model()
    delta, kept = (louder(step(scale=5.0), [0], 100.0) for _ in range(2))
    table, state = old.table.clone(), part.init(model())
    before = {key: value.clone() for key, value in state.items()}
    part(old, delta, state, evidence())
    require(torch.equal(old.table, table), "it changes the model")
    require(torch.equal(delta.rows, kept.rows), "it changes the rows of the step")
    same = all(torch.equal(delta.encoder[key], kept.encoder[key]) for key in kept.encoder)
    require(same, "it changes the encoder's step")
    require(all(torch.equal(state[key], before[key]) for key in before), "it changes its state in place")


def form(make: Make) -> None:
    """A finite float32 step of the same items and blocks comes out, with figures that are numbers."""
    part, old = make(), model()
    state = part.init(old)
    for seed in range(1, 5):
        delta = louder(step(seed, 5.0), [0], 100.0)
        after, state, figures = part(old, delta, state, evidence())
        require(torch.equal(after.items, delta.items), "the step has other items")
        require(after.rows.shape == delta.rows.shape, f"rows have shape {tuple(after.rows.shape)}")
        require(after.rows.dtype == torch.float32, f"rows are {after.rows.dtype}")
        require(set(after.encoder) == set(delta.encoder), "the step has other blocks")
        tensors = [after.rows, *after.encoder.values()]
        require(all(bool(t.isfinite().all()) for t in tensors), "the permitted step is not finite")
        require(all(isinstance(t, torch.Tensor) for t in state.values()), "its state is not made of tensors")
        require(all(math.isfinite(figure) for figure in figures.values()), "a figure is not finite")


def repeatable(make: Make) -> None:
    """The same round gives the same bits."""
    found = []
    for _ in range(2):
        part = make()
        after, _, figures = part(model(), step(scale=5.0), part.init(model()), evidence())
        found.append((after, figures))
    (one, told), (other, again) = found
    require(torch.equal(one.rows, other.rows) and told == again, "two calls with the same round differ")


def emptiness(make: Make) -> None:
    """A round without items passes."""
    part = make()
    delta = ParameterUpdate(step().encoder, torch.zeros(0, D), torch.zeros(0, dtype=torch.int32))
    after, _, figures = part(model(), delta, part.init(model()), evidence())
    require(after.rows.shape == (0, D), "no items give rows")
    require(all(figure == figure for figure in figures.values()), "a figure is NaN")


CHECKS = (input_kept, form, repeatable, emptiness)
