"""SignGuard: the gate on norms, the statistics of signs, the largest cluster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import ConfigError
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import Aggregate, build_aggregator
from server.aggregators.base import sampled
from server.aggregators.signguard import largest, sign_shares
from tests.server.aggregators.helpers import apply, flat, flat_of, from_flat, make

WIDE = 2000
CLUSTERS = pytest.mark.parametrize("clusters", ["mean_shift", "kmeans"])


def crowd(n: int = 20, seed: int = 0) -> DeviceUpdates:
    """Devices of about one norm with as many + as −."""
    return make(n, seed, width=WIDE)


def kept(result: Aggregate) -> list[int]:
    assert result.weights is not None
    return [int(i) for i in result.weights.nonzero()[:, 0]]


def with_values(updates: DeviceUpdates, values: dict[int, Tensor]) -> DeviceUpdates:
    whole = flat(updates).float()
    for device, value in values.items():
        whole[device] = value
    return from_flat(whole, updates)


@CLUSTERS
def test_signs_of_their_own_are_left_out(clusters: str) -> None:
    whole = flat(crowd()).float()
    updates = with_values(crowd(), {i: whole[i].abs() for i in (3, 8, 9)})
    honest = [i for i in range(20) if i not in (3, 8, 9)]
    assert set(kept(apply("signguard", updates, clusters=clusters))) <= set(honest)


def test_norms_far_from_the_median_are_left_out_and_the_others_clipped() -> None:
    whole = flat(crowd()).float()
    usual = float(whole.norm(dim=1).median())
    changed = {0: whole[0] * 0.05, 1: whole[1] * 100, 2: whole[2] * (2.9 * usual / whole[2].norm())}
    updates = with_values(crowd(), changed)
    u = flat(updates).numpy()
    norms = np.array([np.linalg.norm(row) for row in u])
    result = apply("signguard", updates, sample=1.0)
    members = kept(result)
    assert {0, 1} & set(members) == set()
    expected = np.mean([u[i] * min(1.0, np.median(norms) / norms[i]) for i in members], axis=0)
    np.testing.assert_allclose(flat_of(result).numpy(), expected, rtol=1e-4, atol=1e-6)
    assert result.figures["signguard.sized"] == pytest.approx(18 / 20)


def test_the_gate_is_a_parameter() -> None:
    equal = crowd(9).take(torch.zeros(9, dtype=torch.int64))  # one kind of signs
    scale = torch.tensor([0.02, 0.2, 1, 1, 1, 1, 1, 2.5, 50.0])
    updates = replace(equal, encoder=equal.encoder * scale[:, None], rows=equal.rows * scale[:, None, None])
    assert kept(apply("signguard", updates)) == [1, 2, 3, 4, 5, 6, 7]
    assert kept(apply("signguard", updates, low=0.01)) == list(range(8))
    assert kept(apply("signguard", updates, low=0.5, high=2.0)) == [2, 3, 4, 5, 6]


def histories() -> DeviceUpdates:
    """Eight devices hold next to all coordinates, five a few: honest, all of one norm."""
    whole = flat(crowd(13)).float()
    g = torch.Generator().manual_seed(2)
    share = torch.tensor([0.9] * 8 + [0.2] * 5)[:, None]
    held = torch.rand(whole.shape, generator=g) < share
    return from_flat(torch.nn.functional.normalize(whole * held, dim=1), crowd(13))


def test_zeros_tell_short_histories_from_long_ones_unless_ignored() -> None:
    assert max(kept(apply("signguard", histories(), sample=1.0))) < 8
    ignored = kept(apply("signguard", histories(), sample=1.0, zeros="ignore"))
    assert max(ignored) >= 8


def test_shares_of_signs_are_counted() -> None:
    values = torch.tensor([[1.0, -2.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    assert sign_shares(values, zeros=True).tolist() == [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]
    torch.testing.assert_close(
        sign_shares(values, zeros=False), torch.tensor([[2 / 3, 1 / 3], [0, 0]], dtype=torch.float64)
    )


@pytest.mark.parametrize(("share", "count"), [(1e-9, 1), (0.1, 2), (0.5, 11), (1.0, 22)])
def test_the_sample_is_coordinates_of_both_blocks_without_repeats(share: float, count: int) -> None:
    updates = make(3)
    values = sampled(updates, share, torch.Generator().manual_seed(1))
    assert values.shape == (3, count)
    whole = flat(updates).float()
    found = [int((whole == values[:, k : k + 1]).all(dim=0).nonzero()) for k in range(count)]
    assert len(set(found)) == count


def test_the_rounds_generator_draws_the_sample() -> None:
    one, same = (sampled(make(3), 0.5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, sampled(make(3), 0.5, torch.Generator().manual_seed(2)))


def test_the_largest_cluster_and_a_tie() -> None:
    features = np.array([[0.0], [0.1], [0.9], [1.0], [0.5]])
    assert largest(features, np.array([0, 0, 1, 1, 1])).tolist() == [False, False, True, True, True]
    assert largest(features, np.array([1, 1, 0, 0, -1])).tolist() == [True, True, False, False, False]
    assert largest(features, np.array([0, 0, 1, 1, -1])).tolist() == [True, True, False, False, False]


@CLUSTERS
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_devices(clusters: str, n: int) -> None:
    assert flat_of(apply("signguard", make(n), clusters=clusters)).isfinite().all()


def test_where_nobody_passes_both_gates_the_norm_decides() -> None:
    """The largest cluster, all +, is oversized as a whole."""
    width = flat(make(1)).shape[1]
    signs = torch.ones(9, width)
    signs[4:7, ::2] = -1
    signs[7:] = -1
    signs[:4] *= 100
    assert kept(apply("signguard", from_flat(signs, make(9)), sample=1.0)) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "params",
    [
        {"low": 0.0},
        {"low": 1.5},
        {"high": 0.5},
        {"sample": 0.0},
        {"sample": 1.1},
        {"zeros": "some"},
        {"clusters": "dbscan"},
    ],
)
def test_invalid_values_are_settings_errors(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="signguard"):
        build_aggregator(component("signguard", **params))


def test_where_nobody_is_near_the_median_everybody_counts() -> None:
    """The median of two is between them: with narrow gates nobody passes, and nothing is divided by 0."""
    updates = with_values(make(2), {0: from_norm(1.0), 1: from_norm(3.0)})
    result = apply("signguard", updates, low=0.9, high=1.2)
    assert result.weights is not None
    assert bool((result.weights > 0).all())
    assert bool(result.rows.isfinite().all())


def from_norm(length: float) -> Tensor:
    width = flat(make(2)).shape[1]
    return torch.full((width,), length / width**0.5)
