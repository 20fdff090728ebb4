"""The trust region of item rows, against plain loops over rounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.errors import ConfigError
from common.settings import component
from server.constraints import build_constraints
from server.constraints.trust import BAND, bands
from server.optimizers import ParameterUpdate
from tests.server.constraints.helpers import D, N, apply, evidence, louder, model, step


def by_hand(
    steps: list[ParameterUpdate], popularity: np.ndarray, window: int, factor: float, number: int
) -> list[np.ndarray]:
    """The permitted rows of each round."""
    way = np.zeros((N, D))
    order = sorted(range(N), key=lambda i: (popularity[i], i))
    band = {i: place * number // N for place, i in enumerate(order)}
    permitted = []
    for delta in steps:
        before = way * (1 - 1 / window)
        proposed = before.copy()
        items = [int(i) - 1 for i in delta.items]
        for place, i in enumerate(items):
            proposed[i] += delta.rows[place].double().numpy()
        sizes = np.linalg.norm(proposed, axis=1)
        way = before.copy()
        rows = []
        for i in items:
            like = [sizes[j] for j in range(N) if band[j] == band[i] and sizes[j] > 0]
            bound = max(factor * float(np.median(like)), float(np.linalg.norm(before[i])))
            way[i] = proposed[i] * min(1.0, bound / sizes[i])
            rows.append(way[i] - before[i])
        permitted.append(np.array(rows))
    return permitted


@pytest.mark.parametrize(("window", "factor", "number"), [(5, 1.2, 4), (50, 2.0, 10), (1, 1.5, 1)])
def test_a_loop_over_rounds_finds_the_same(window: int, factor: float, number: int) -> None:
    popularity = torch.rand(N, generator=torch.Generator().manual_seed(4)).double()
    steps = [louder(step(seed), [seed % 5], 20.0) for seed in range(12)]
    chain = build_constraints([component("row_trust", window=window, factor=factor, bands=number)])
    state, found, clipped = chain.init(model()), [], 0.0
    for delta in steps:
        after, state, figures = chain(model(), delta, state, evidence(popularity))
        found.append(after.rows.double().numpy())
        clipped += figures["row_trust.clipped"]
        assert torch.equal(after.encoder["a"], delta.encoder["a"])
    for one, other in zip(found, by_hand(steps, popularity.numpy(), window, factor, number), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert clipped > 0


def everything(scale: float, seed: int) -> ParameterUpdate:
    g = torch.Generator().manual_seed(seed)
    items = torch.arange(1, N + 1, dtype=torch.int32)
    return ParameterUpdate({}, scale * torch.randn(N, D, generator=g), items)


def test_a_steady_small_push_is_stopped_and_noise_is_not() -> None:
    """Row 7 moves no further in a round than the others, but always the same way."""
    chain = build_constraints([component("row_trust", window=40, factor=3.0)])
    state, gone, wanted, noise = chain.init(model()), torch.zeros(D), torch.zeros(D), 1.0
    for seed in range(60):
        delta = everything(0.1, seed)
        delta.rows[6] = 0.2 * torch.ones(D) / D**0.5
        after, state, _ = chain(model(), delta, state, evidence())
        gone, wanted = gone + after.rows[6], wanted + delta.rows[6]
        kept = (after.rows.norm(dim=1) / delta.rows.norm(dim=1)).sort().values
        noise = min(noise, float(kept[N // 10]))
    assert float(gone.norm()) < 0.6 * float(wanted.norm())
    assert noise == pytest.approx(1.0)


def test_a_row_beyond_its_region_may_come_back() -> None:
    chain = build_constraints([component("row_trust", factor=1.0)])
    first = everything(0.1, 0)
    _, state, _ = chain(model(), louder(first, [6], 30.0), chain.init(model()), evidence())
    state = {"0/way": state["0/way"].clone()}
    state["0/way"][6] = 50.0
    back = everything(0.1, 1)
    back.rows[6] = -1.0
    after, state, _ = chain(model(), back, state, evidence())
    assert torch.equal(after.rows[6], back.rows[6])
    out = everything(0.1, 2)
    out.rows[6] = 1.0
    after, _, _ = chain(model(), out, state, evidence())
    assert float(after.rows[6].norm()) < 1e-3


def test_popular_rows_are_measured_with_popular_rows() -> None:
    """Ten times larger steps are usual among the popular and not among the others."""
    delta = louder(everything(0.1, 3), list(range(N // 2, N)), 10.0)
    popular = torch.arange(N, dtype=torch.float64)
    chain = build_constraints([component("row_trust", bands=2)])
    after, _, _ = chain(model(), delta, chain.init(model()), evidence(popular))
    assert torch.equal(after.rows, delta.rows)
    loud = louder(delta, [3], 10.0)  # as loud as a popular one
    after, _, _ = chain(model(), loud, chain.init(model()), evidence(popular))
    assert not torch.equal(after.rows[3], loud.rows[3])
    assert torch.equal(after.rows[4:], loud.rows[4:])


def test_bands_are_equal_and_never_too_small() -> None:
    popularity = torch.tensor([5.0, 1.0, 3.0, 2.0] * 32, dtype=torch.float64)
    found = bands(popularity, 4)
    assert found[:4].tolist() == [3, 0, 2, 1]
    assert found.bincount().tolist() == [32] * 4
    assert int(bands(popularity, 100).max()) + 1 == 128 // BAND
    assert bands(torch.zeros(3, dtype=torch.float64), 10).tolist() == [0, 0, 0]


@pytest.mark.parametrize("params", [{"window": 0}, {"window": 1.5}, {"bands": 0}, {"factor": 0.0}])
def test_invalid_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="row_trust"):
        apply("row_trust", step(), **params)
