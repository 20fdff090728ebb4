"""LASA against its obvious float64 version, and layer by layer."""

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
from server.aggregators.lasa import sparse_norm_and_purity, usual
from tests.server.aggregators.helpers import P, apply, flat, flat_of, from_flat, make
from tests.server.aggregators.oracles import Values


def scores(x: list[float]) -> list[float]:
    centre, spread = float(np.median(x)), float(np.std(x))
    return [abs(v - centre) / spread if spread else 0.0 for v in x]


def oracle(u: Values, sparsity: float, norm_bound: float, sign_bound: float, border: int = P) -> Values:
    norms = [float(np.linalg.norm(row)) for row in u]
    clipped = np.stack([row * min(1.0, np.median(norms) / x) for row, x in zip(u, norms, strict=True)])
    parts = []
    for layer in (clipped[:, :border], clipped[:, border:]):
        sizes, purities = [], []
        for row in layer:
            order = np.argsort(np.abs(row))
            thin = row.copy()
            thin[order[: int(sparsity * len(row))]] = 0
            sizes.append(float(np.linalg.norm(thin)))
            signs = np.sign(thin)
            purities.append(0.5 * (1 + signs.sum() / np.abs(signs).sum() * (1 - sparsity)))
        pairs = zip(scores(sizes), scores(purities), strict=True)
        stay = [i for i, (a, b) in enumerate(pairs) if a < norm_bound and b < sign_bound]
        parts.append(layer[stay or list(range(len(u)))].mean(axis=0))
    return np.concatenate(parts)


@given(
    n=st.integers(3, 15),
    sparsity=st.sampled_from([0.0, 0.3, 0.9]),
    bounds=st.sampled_from([(2.0137, 0.9731), (0.7137, 1.5731), (1e-6, 5.0), (1e9, 1e9)]),  # off ties
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_lasa_is_its_oracle(n: int, sparsity: float, bounds: tuple[float, float], seed: int) -> None:
    updates = make(n, seed)
    ours = apply("lasa", updates, sparsity=sparsity, norm_bound=bounds[0], sign_bound=bounds[1])
    expected = oracle(flat(updates).numpy(), sparsity, *bounds)
    np.testing.assert_allclose(flat_of(ours).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_layers_are_judged_apart() -> None:
    """Whoever has odd signs in the encoder still counts in the rows."""
    updates = make(12, width=300)
    odd = updates.encoder.clone()
    odd[0] = odd[0].abs()
    ours = apply("lasa", replace(updates, encoder=odd), norm_bound=1e9, sign_bound=2.0)
    assert ours.figures["lasa.encoder"] == pytest.approx(11 / 12)
    usual_rows = apply("lasa", updates, norm_bound=1e9, sign_bound=2.0)
    torch.testing.assert_close(ours.rows, usual_rows.rows)
    assert ours.weights is None


def test_the_copy_is_sparse_and_the_mean_is_not() -> None:
    updates = make(9)
    ours = apply("lasa", updates, sparsity=0.9, norm_bound=1e9, sign_bound=1e9)
    torch.testing.assert_close(flat_of(ours), flat_of(apply("norm_clip", updates)), rtol=1e-5, atol=1e-6)


def test_norm_and_purity_of_what_is_left() -> None:
    value = torch.tensor([3.0, -4.0, 0.1, 0.2, -0.3])
    assert sparse_norm_and_purity(value, 0.6).tolist() == pytest.approx([5.0, 0.5])
    assert sparse_norm_and_purity(value, 0.8).tolist() == pytest.approx([4.0, 0.5 * (1 - 0.2)])
    assert float(sparse_norm_and_purity(value, 0.0)[1]) == pytest.approx(0.5 * (1 + 1 / 5))
    assert sparse_norm_and_purity(torch.zeros(4), 0.5).tolist() == [0.0, 0.5]
    assert sparse_norm_and_purity(torch.ones(4), 0.5).tolist() == pytest.approx([2.0, 0.75])  # ties all stay


def test_equal_scores_all_pass_and_a_pair_is_not_split() -> None:
    assert usual(torch.full((5,), 0.3, dtype=torch.float64), 1e-9).all()
    for low in torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        pair = usual(torch.stack([low, low + 0.1]), 1.0)
        assert bool(pair[0]) == bool(pair[1])


@pytest.mark.parametrize("distance", [20.0, 1e4, 1e12])
def test_far_attackers_move_it_by_no_more_than_clipped_updates(distance: float) -> None:
    whole = flat(make(17)).float()
    whole[12:] = distance
    moved = flat_of(apply("lasa", from_flat(whole, make(17))))
    assert float(moved.norm()) <= float(flat(make(17))[:12].norm(dim=1).max())


@pytest.mark.parametrize("params", [{"sparsity": 1.0}, {"norm_bound": 0.0}, {"sign_bound": -1.0}])
def test_invalid_values_are_settings_errors(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="lasa"):
        build_aggregator(component("lasa", **params))
