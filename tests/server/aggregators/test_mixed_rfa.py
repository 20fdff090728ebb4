"""Mixed RFA: Weiszfeld on the vectors themselves, and the mean beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from common.settings import component
from server.aggregators import build_aggregator
from tests.server.aggregators import oracles
from tests.server.aggregators.helpers import apply, attacked, flat, flat_of, make
from tests.server.aggregators.oracles import Values


def oracle(u: Values, sizes: Values, mix: float, steps: int) -> Values:
    v = sizes @ u / sizes.sum()
    for _ in range(steps):
        weights = sizes / np.maximum(np.linalg.norm(u - v, axis=1), 1e-9)
        v = weights @ u / weights.sum()
    return mix * u.mean(axis=0) + (1 - mix) * v


@given(
    n=st.integers(3, 12),
    mix=st.sampled_from([0.0, 0.3, 1.0]),
    steps=st.integers(1, 5),
    history=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_mixed_rfa_is_its_oracle(n: int, mix: float, steps: int, history: bool, seed: int) -> None:
    updates = make(n, seed)
    sizes = updates.history.double().numpy() if history else np.ones(n)
    ours = apply(
        "mixed_rfa",
        updates,
        mix=mix,
        max_iterations=steps,
        weighting="history" if history else "uniform",
    )
    expected = oracle(flat(updates).numpy(), sizes, mix, steps)
    np.testing.assert_allclose(flat_of(ours).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_weighted_median_has_the_least_weighted_cost() -> None:
    updates = make(9)
    updates = replace(updates, history=torch.tensor([20, 1, 1, 1, 1, 1, 1, 1, 1], dtype=torch.int32))
    u, sizes = flat(updates).numpy(), updates.history.double().numpy()
    params: dict[str, object] = {"mix": 0.0, "max_iterations": 100}
    weighted = flat_of(apply("mixed_rfa", updates, weighting="history", **params)).numpy()
    plain = flat_of(apply("mixed_rfa", updates, **params)).numpy()
    np.testing.assert_allclose(weighted, u[0], atol=1e-3)  # it outweighs all the others together
    assert sizes @ np.linalg.norm(u - weighted, axis=1) < sizes @ np.linalg.norm(u - plain, axis=1)
    assert oracles.cost(u, plain) < oracles.cost(u, weighted)


def test_its_ends_are_the_mean_and_the_geometric_median() -> None:
    updates = attacked(8, 3, 1e3)
    mean, median = flat_of(apply("mean", updates)), flat_of(apply("geometric_median", updates))
    torch.testing.assert_close(flat_of(apply("mixed_rfa", updates, mix=1.0)), mean)
    ours = flat_of(apply("mixed_rfa", updates, mix=0.0, max_iterations=100))
    torch.testing.assert_close(ours, median, rtol=1e-4, atol=1e-4)
    mixed = flat_of(apply("mixed_rfa", updates, max_iterations=100))
    torch.testing.assert_close(mixed, 0.3 * mean + 0.7 * median, rtol=1e-4, atol=1e-4)


def test_one_far_attacker_moves_it_by_its_part_of_the_mean() -> None:
    moved = flat_of(apply("mixed_rfa", attacked(11, 1, 1e6), max_iterations=100)).norm()
    assert float(moved) == pytest.approx(0.3 * 1e6 / 12, rel=1e-2)


@pytest.mark.parametrize(
    "params", [{"mix": -0.1}, {"mix": 1.5}, {"weighting": "size"}, {"max_iterations": 0}, {"smoothing": 0.0}]
)
def test_invalid_values_are_settings_errors(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="mixed_rfa"):
        build_aggregator(component("mixed_rfa", **params))
