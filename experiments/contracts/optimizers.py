"""What every server step promises; its item rows are sparse."""

from __future__ import annotations

from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor

from experiments.contracts import require
from server.optimizers import Optimizer, ParameterUpdate, State

ITEMS, D = 9, 4
SHAPES = {"blocks.0.attention": (3, 4), "norm": (4,), "blocks/odd/name": (2, 2, 2), "bias": ()}
Make = Callable[[], Optimizer]


def model() -> tuple[dict[str, Tensor], Tensor]:
    """Encoder blocks and the item table of a model at zero."""
    return {name: torch.zeros(shape) for name, shape in SHAPES.items()}, torch.zeros(ITEMS + 1, D)


def update(seed: int, items: list[int] | None = None) -> ParameterUpdate:
    """A Gaussian aggregate; of four items drawn at random, or of ``items``."""
    g = torch.Generator().manual_seed(seed)
    if items is None:
        items = sorted((1 + torch.randperm(ITEMS, generator=g)[:4]).tolist())
    encoder = {name: torch.randn(shape, generator=g) for name, shape in SHAPES.items()}
    return ParameterUpdate(
        encoder, torch.randn(len(items), D, generator=g), torch.tensor(items, dtype=torch.int32)
    )


def sparse(make: Make) -> None:
    """Rows outside the slice, and what it remembers of them, stay as they are bit for bit."""
    rule = make()
    _, state = rule.step(update(0, list(range(1, ITEMS + 1))), rule.init(*model()), 0.1)
    delta, after = rule.step(update(1, [2, 5]), state, 0.1)
    require(delta.items.tolist() == [2, 5], "it moves other items than those of the round")
    others = [0, 1, 3, 4, 6, 7, 8, 9]
    for key, value in state.items():
        if value.dim() and len(value) == ITEMS + 1:
            kept = torch.equal(after[key][others], value[others])
            require(kept, f"{key} changes for items that are not in the round")


def input_kept(make: Make) -> None:
    """Nothing that it is given is changed or handed back, and the state keeps its names."""
    rule = make()
    _, state = rule.step(update(0), rule.init(*model()), 0.1)
    given, kept = update(1), update(1)
    frozen = {key: value.clone() for key, value in state.items()}
    delta, after = rule.step(given, state, 0.1)
    require(set(after) == set(state), "the state has other names after a step")
    for tensor in (delta.rows, *delta.encoder.values()):
        tensor.fill_(99.0)
    same = all(torch.equal(given.encoder[key], kept.encoder[key]) for key in given.encoder)
    require(same and torch.equal(given.rows, kept.rows), "it changes the aggregate, or hands it back")
    require(all(torch.equal(state[key], frozen[key]) for key in frozen), "it changes the state it was given")
    require(not any((value == 99.0).any() for value in after.values()), "its step is a view of its state")


def resumable(make: Make) -> None:
    """From a saved state a run goes on bit for bit."""
    rule = make()
    straight: State = rule.init(*model())
    resumed: State = rule.init(*model())
    for seed in range(6):
        resumed = load(save({key: value.contiguous() for key, value in resumed.items()}))
        one, straight = rule.step(update(seed), straight, 0.1)
        other, resumed = rule.step(update(seed), resumed, 0.1)
        same = all(torch.equal(one.encoder[key], other.encoder[key]) for key in one.encoder)
        require(same and torch.equal(one.rows, other.rows), f"resumed, step {seed + 1} is another one")


def direction(make: Make) -> None:
    """The first step points along the aggregate and grows with the rate."""
    rule = make()
    state = rule.init(*model())
    small, _ = rule.step(update(0), state, 0.1)
    large, _ = rule.step(update(0), state, 0.2)
    require(float((small.rows * update(0).rows).sum()) > 0, "the item rows move against the aggregate")
    for key, block in small.encoder.items():
        require(float((block * update(0).encoder[key]).sum()) > 0, f"{key} moves against the aggregate")
    require(large.rows.norm() > small.rows.norm(), "a higher rate is no larger step")


def emptiness(make: Make) -> None:
    """Updates of zeros and a round without items move nothing and break nothing."""
    rule = make()
    state = rule.init(*model())
    empty = update(0, [])
    still = ParameterUpdate(
        {k: torch.zeros_like(v) for k, v in empty.encoder.items()}, empty.rows, empty.items
    )
    delta, after = rule.step(still, state, 0.1)
    require(delta.rows.shape == (0, D), "no items give rows")
    require(all(block.abs().max() == 0 for block in delta.encoder.values()), "out of zeros comes a step")
    require(all(value.isfinite().all() for value in after.values()), "the state is not finite")


CHECKS = (sparse, input_kept, resumable, direction, emptiness)
