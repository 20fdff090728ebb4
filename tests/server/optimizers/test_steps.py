"""Server steps: what all share, torch as the oracle, and sparse item rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from common.errors import ConfigError, UnknownName
from common.settings import component
from server.optimizers import OPTIMIZERS, ParameterUpdate, State, build_optimizer

N, D = 9, 4
SHAPES = {"blocks.0.attention": (3, 4), "norm": (4,), "blocks/odd/name": (2, 2, 2), "bias": ()}
every_step = pytest.mark.parametrize("name", sorted(OPTIMIZERS))


def model() -> tuple[dict[str, Tensor], Tensor]:
    return {name: torch.zeros(shape) for name, shape in SHAPES.items()}, torch.zeros(N + 1, D)


def update(seed: int, items: list[int] | None = None) -> ParameterUpdate:
    g = torch.Generator().manual_seed(seed)
    if items is None:
        items = sorted((1 + torch.randperm(N, generator=g)[:4]).tolist())
    encoder = {name: torch.randn(shape, generator=g) for name, shape in SHAPES.items()}
    return ParameterUpdate(
        encoder, torch.randn(len(items), D, generator=g), torch.tensor(items, dtype=torch.int32)
    )


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
def test_rows_outside_the_slice_and_their_moments_stay_bit_identical(name: str) -> None:
    rule = build_optimizer(component(name))
    encoder, table = model()
    _, state = rule.step(DENSE[0], rule.init(encoder, table), 0.1)
    delta, after = rule.step(update(1, [2, 5]), state, 0.1)
    assert delta.items.tolist() == [2, 5]
    others = [0, 1, 3, 4, 6, 7, 8, 9]
    per_row = [key for key in state if key.startswith("table/") and state[key].dim()]
    assert bool(per_row) == (name != "sgd")
    for key in per_row:
        assert torch.equal(after[key][others], state[key][others])
        assert not torch.equal(after[key][[2, 5]], state[key][[2, 5]])


@every_step
def test_nothing_given_is_changed_or_aliased(name: str) -> None:
    rule = build_optimizer(component(name))
    encoder, table = model()
    _, state = rule.step(update(0), rule.init(encoder, table), 0.1)
    u, kept = update(1), update(1)
    frozen = {key: value.clone() for key, value in state.items()}
    delta, after = rule.step(u, state, 0.1)
    for tensor in (delta.rows, *delta.encoder.values()):
        tensor.fill_(99.0)
    assert torch.equal(u.rows, kept.rows)
    assert all(torch.equal(u.encoder[key], kept.encoder[key]) for key in u.encoder)
    assert all(torch.equal(state[key], frozen[key]) for key in frozen)
    assert set(after) == set(state)
    assert not any((value == 99.0).any() for value in after.values())


@every_step
def test_a_run_resumed_from_saved_state_is_bit_identical(name: str) -> None:
    rule = build_optimizer(component(name))
    straight: State = rule.init(*model())
    resumed: State = rule.init(*model())
    for seed in range(6):
        resumed = load(save(dict(resumed)))
        one, straight = rule.step(update(seed), straight, 0.1)
        other, resumed = rule.step(update(seed), resumed, 0.1)
        assert torch.equal(one.rows, other.rows)
        assert all(torch.equal(one.encoder[key], other.encoder[key]) for key in one.encoder)
    assert set(straight) == set(resumed)


@every_step
def test_the_step_points_along_the_update_and_grows_with_the_rate(name: str) -> None:
    rule = build_optimizer(component(name))
    state = rule.init(*model())
    small, _ = rule.step(update(0), state, 0.1)
    large, _ = rule.step(update(0), state, 0.2)
    assert (small.rows * update(0).rows).min() > 0
    torch.testing.assert_close(large.rows, 2 * small.rows)
    torch.testing.assert_close(large.encoder["norm"], 2 * small.encoder["norm"])


@every_step
def test_zero_updates_and_an_empty_slice_are_harmless(name: str) -> None:
    rule = build_optimizer(component(name))
    state = rule.init(*model())
    u = update(0, [])
    still = ParameterUpdate({key: torch.zeros_like(v) for key, v in u.encoder.items()}, u.rows, u.items)
    delta, after = rule.step(still, state, 0.1)
    assert delta.rows.shape == (0, D)
    assert all(block.abs().max() == 0 for block in delta.encoder.values())
    assert all(value.isfinite().all() for value in after.values())
    assert all(torch.equal(after[key], state[key]) for key in state if key.startswith("table/"))


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
