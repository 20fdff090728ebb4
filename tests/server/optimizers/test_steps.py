"""Server steps: what all share, torch as the oracle, and sparse item rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from common.errors import ConfigError, UnknownName
from common.settings import component
from experiments.contracts.optimizers import ITEMS as N
from experiments.contracts.optimizers import SHAPES as SHAPES
from experiments.contracts.optimizers import D as D
from experiments.contracts.optimizers import model as model
from experiments.contracts.optimizers import update as update
from server.optimizers import OPTIMIZERS, ParameterUpdate, build_optimizer

every_step = pytest.mark.parametrize("name", sorted(OPTIMIZERS))


def walk(name: str, updates: list[ParameterUpdate], lr: float = 0.1, **params: object) -> Tensor:
    """The item table and encoder, flattened, after applying every step."""
    encoder, table = model()
    rule = build_optimizer(component(name, **params))
    state = rule.init(encoder, table)
    for u in updates:
        delta, state = rule.step(u, state, lr)
        table = table.index_add(0, delta.items, delta.rows)
        encoder = {key: encoder[key] + delta.encoder[key] for key in encoder}
    return torch.cat([table.flatten(), *(e.flatten() for e in encoder.values())])


def by_torch(updates: list[ParameterUpdate], make: Callable[[list[Tensor]], torch.optim.Optimizer]) -> Tensor:
    """The same walk by an optimiser of torch on the gradient −u; every update holds rows 1..N."""
    encoder, table = model()
    parameters = [table, *encoder.values()]
    optimizer = make(parameters)
    for u in updates:
        table.grad = torch.cat([torch.zeros(1, D), -u.rows])
        for key, block in encoder.items():
            block.grad = -u.encoder[key]
        optimizer.step()
    return torch.cat([p.flatten() for p in parameters])


DENSE = [update(seed, list(range(1, N + 1))) for seed in range(6)]


@pytest.mark.parametrize(
    ("name", "params", "make"),
    [
        ("sgd", {}, lambda p: torch.optim.SGD(p, lr=0.1)),
        ("momentum", {"beta": 0.8}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8)),
        ("adam", {}, lambda p: torch.optim.Adam(p, lr=0.1)),
        (
            "adam",
            {"beta1": 0.5, "beta2": 0.7, "eps": 0.1},
            lambda p: torch.optim.Adam(p, 0.1, (0.5, 0.7), 0.1),
        ),
    ],
)
def test_with_all_rows_it_is_torchs(
    name: str, params: dict[str, object], make: Callable[[list[Tensor]], torch.optim.Optimizer]
) -> None:
    torch.testing.assert_close(walk(name, DENSE, **params), by_torch(DENSE, make), rtol=1e-5, atol=1e-6)


@every_step
def test_the_step_points_along_the_update_and_grows_with_the_rate(name: str) -> None:
    rule = build_optimizer(component(name))
    state = rule.init(*model())
    small, _ = rule.step(update(0), state, 0.1)
    large, _ = rule.step(update(0), state, 0.2)
    assert (small.rows * update(0).rows).min() > 0
    torch.testing.assert_close(large.rows, 2 * small.rows)
    torch.testing.assert_close(large.encoder["norm"], 2 * small.encoder["norm"])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("momentum", {"beta": 1.0}),
        ("adam", {"beta1": -0.1}),
        ("adam", {"eps": 0.0}),
        ("yogi", {"beta2": 1.5}),
        ("block_adam", {"beta2": "big"}),
        ("rowwise_adagrad", {"eps": float("nan")}),
        ("sgd", {"momentum": 0.9}),
    ],
)
def test_invalid_parameters_are_settings_errors(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=name):
        build_optimizer(component(name, **params))


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="block_adam"):
        build_optimizer(component("adan"))
