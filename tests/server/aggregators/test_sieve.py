"""The sieve and its stages, against obvious float64 loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.errors import ConfigError
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import build_aggregator
from server.aggregators.stages import (
    interaction_size,
    norm_factor,
    retention,
    retention_weight,
    row_clip,
    row_limits,
    scaled_sum,
)
from tests.server.aggregators.helpers import apply, flat_of, make


def people(n: int, rows: int = 60, dim: int = 16, positives: int = 8, seed: int = 0) -> DeviceUpdates:
    """Devices as a softmax makes them: full-size pulls on their own items, weak pushes on the others."""
    g = torch.Generator().manual_seed(seed)
    taste = torch.nn.functional.normalize(torch.randn(n, dim, generator=g), dim=1)  # [n, d]
    values = -0.02 * taste[:, None, :] * torch.rand(n, rows, 1, generator=g)  # [n, K, d]
    for u in range(n):
        held = torch.randperm(rows, generator=g)[:positives]
        values[u, held] = taste[u] * (0.8 + 0.4 * torch.rand(positives, 1, generator=g))
    return DeviceUpdates(
        encoder=torch.randn(n, 20, generator=g),
        rows=values,
        items=torch.arange(1, rows + 1, dtype=torch.int32),
        history=torch.full((n,), positives, dtype=torch.int32),
        device=torch.arange(n),
    )


def middle(values: list[float]) -> float:
    ordered = sorted(values)
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def norms_of(rows: Tensor) -> list[list[float]]:
    return [[math.sqrt(sum(float(x) ** 2 for x in row)) for row in device] for device in rows]


def first_round(encoders: Tensor) -> list[float]:
    """Trust after the first round, whose evidence x counts half: r = x/(1 + 1)."""
    n = len(encoders)
    if n < 8:
        return [1.0] * n
    unit = [row / row.norm() for row in encoders.double()]
    mean = sum(unit, torch.zeros_like(unit[0])) / n
    rest = [row - mean for row in unit]
    near = []
    for u in range(n):
        cosines = [float(rest[u] @ rest[v] / rest[u].norm() / rest[v].norm()) for v in range(n) if v != u]
        count = max(1, round(0.2 * (n - 1)))
        near.append(sum(sorted(cosines)[-count:]) / count)
    records = [min(max(x - middle(near), -0.1), 0.25) / 2 for x in near]
    return [(1 + 3 * max(0.0, r / 0.06 - 1)) ** -2 for r in records]


def oracle(updates: DeviceUpdates) -> tuple[Tensor, list[float], list[float]]:
    """The recipe of the docstring in Python floats, where the model has no bound: rows, ‖R_u‖, shares."""
    norms = norms_of(updates.rows)
    sizes = [math.sqrt(sum(x**4 for x in device) / sum(x**2 for x in device)) for device in norms]
    limit = 1.25 * 2 * middle(sizes)
    factors = [[min(1.0, limit / x) if x > 0 else 1.0 for x in device] for device in norms]
    clipped = updates.rows.double() * torch.tensor(factors, dtype=torch.float64)[:, :, None]
    kept = []
    for device, factor in zip(norms, factors, strict=True):
        after = math.sqrt(sum((x * f) ** 2 for x, f in zip(device, factor, strict=True)))
        kept.append(after / math.sqrt(sum(x**2 for x in device)))
    usual = middle(kept)
    weights = [min(1.0, min(1.0, k / usual) / 0.8) ** 6 for k in kept]
    weights = [w * trust for w, trust in zip(weights, first_round(updates.encoder), strict=True)]
    shares = [w / sum(weights) for w in weights]
    total = (clipped * torch.tensor(shares, dtype=torch.float64)[:, None, None]).sum(0)
    return total, [float(x) for x in clipped.flatten(1).norm(dim=1)], shares


@pytest.mark.parametrize("n", [3, 8, 9])
def test_rows_and_weights_follow_the_formula(n: int) -> None:
    updates = people(n)
    updates.rows[0, 3] *= 30  # someone who trips every stage
    updates.rows[1] = updates.rows[2]
    result = apply("sieve", updates)
    rows, _, shares = oracle(updates)
    assert result.weights is not None
    torch.testing.assert_close(result.rows.double(), rows, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(result.weights.double(), torch.tensor(shares).double(), rtol=1e-4, atol=1e-6)


def test_interaction_size_does_not_depend_on_the_length_of_histories() -> None:
    short, long = (interaction_size(people(40, positives=p).rows.norm(dim=2)) for p in (2, 30))
    assert float(short / long) == pytest.approx(1.0, abs=0.1)
    assert 0.8 < float(short) < 1.2


def test_row_clip_leaves_small_rows_and_bounds_large_ones() -> None:
    rows = make(4).rows
    norms = rows.norm(dim=2)
    limits = norms.median() * torch.linspace(0.8, 1.2, norms.shape[1])
    factors = row_clip(norms, limits)
    clipped = rows * factors[:, :, None]
    assert bool((clipped.norm(dim=2) <= limits * (1 + 1e-6)).all())
    small = norms <= limits
    assert torch.equal(clipped[small], rows[small])
    assert bool((factors[small] == 1).all())
    assert bool((factors[~small] < 1).all())


def test_a_limit_is_the_models_in_the_direction_of_the_row() -> None:
    """The bound of a made-up model: .7 along the first axis, up to .5 more across it."""
    updates = people(6)
    norms = updates.rows.norm(dim=2)
    usual = float(interaction_size(norms))

    def interaction(directions: Tensor) -> Tensor:
        assert bool(((directions.norm(dim=1) - 1).abs() < 1e-5).all())
        return 0.7 + 0.5 * (1 - directions[:, 0].abs())

    limits = row_limits(updates.rows, norms, interaction)
    for u in range(6):
        for i in range(norms.shape[1]):
            length = float(norms[u, i])
            expected = (
                usual if length <= usual / 2 else 1.2 - 0.5 * abs(float(updates.rows[u, i, 0])) / length
            )
            assert float(limits[u, i]) == pytest.approx(expected, rel=1e-5)
    assert row_limits(updates.rows, norms, None).unique().tolist() == pytest.approx([2 * usual])


def test_the_scaled_sum_is_one_over_devices() -> None:
    rows = make(5).rows
    scales = torch.rand(rows.shape[:2], generator=torch.Generator().manual_seed(3))
    expected = (rows.double() * scales.double()[:, :, None]).sum(0)
    torch.testing.assert_close(scaled_sum(rows, scales).double(), expected, rtol=1e-5, atol=1e-6)


def test_retention_tells_a_concentrated_update_from_a_spread_one() -> None:
    norms = torch.ones(5, 10)
    norms[4] = torch.tensor([20.0] + [0.1] * 9)
    kept = retention(norms, (1 / norms).clamp(max=1))
    assert kept[:4].tolist() == [1.0] * 4
    assert float(kept[4]) < 0.06
    weights = retention_weight(kept, 0.8)
    assert weights[:4].tolist() == [1.0] * 4
    assert float(weights[4]) < 1e-5


def test_norm_factor_is_the_share_of_the_median() -> None:
    factors = norm_factor(torch.tensor([1.0, 2.0, 10.0]).double(), slack=1.5)
    assert factors.tolist() == pytest.approx([1.0, 1.0, 0.3])


def test_one_row_promoter_moves_the_row_by_less_than_one_interaction_each() -> None:
    updates = people(40)
    rows = updates.rows.clone()
    rows[:8, 7] = 50.0  # eight devices push item 7 with all they have
    poisoned = replace(updates, rows=rows)
    mean, sieve = apply("mean", poisoned), apply("sieve", poisoned)
    assert float(mean.rows[7].norm()) > 30
    assert float(sieve.rows[7].norm()) < 0.6
    assert sieve.weights is not None
    assert float(sieve.weights[:8].sum()) < 0.01


def test_short_histories_keep_their_weight() -> None:
    short, long = people(20, positives=2, seed=1), people(20, positives=20, seed=2)
    both = DeviceUpdates(
        torch.cat([short.encoder, long.encoder]),
        torch.cat([short.rows, long.rows]),
        short.items,
        torch.cat([short.history, long.history]),
        torch.arange(40),
    )
    weights = apply("sieve", both).weights
    assert weights is not None
    assert float(weights[:20].mean() / weights[20:].mean()) > 0.9


@pytest.mark.parametrize(
    "off", [{"rows": 0}, {"encoder": 0}, {"retention": 0}, {"reputation": 0}], ids=lambda off: next(iter(off))
)
def test_each_stage_can_be_switched_off_and_matters(off: dict[str, object]) -> None:
    updates = people(12)
    updates.rows[0] *= 0.01
    updates.rows[0, 3] = 30.0
    updates.encoder[5] *= 40
    updates.encoder[6:9] = updates.encoder[6]
    assert not torch.allclose(flat_of(apply("sieve", updates)), flat_of(apply("sieve", updates, **off)))


def test_where_nobody_is_beyond_a_bound_it_is_the_plain_mean() -> None:
    """Devices that learn apart, with histories of two to thirty: nothing is taken from anybody."""
    parts = [people(20, positives=positives, seed=positives) for positives in (2, 8, 30)]
    updates = replace(
        parts[0],
        encoder=torch.cat([p.encoder * n**0.5 for p, n in zip(parts, (2, 8, 30), strict=True)]),
        rows=torch.cat([p.rows for p in parts]),
        history=torch.cat([p.history for p in parts]),
        device=torch.arange(60),
    )
    found, plain = apply("sieve", updates, reputation=0), apply("mean", updates)
    torch.testing.assert_close(flat_of(found), flat_of(plain), rtol=1e-5, atol=1e-7)
    assert found.weights is not None
    torch.testing.assert_close(found.weights, torch.full((60,), 1 / 60))


@pytest.mark.parametrize("field", ["rows", "encoder", "reputation"])
def test_values_below_zero_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be 0 \\(off\\) or positive"):
        build_aggregator(component("sieve", **{field: -1}))


@pytest.mark.parametrize("retention", [-0.1, 1.5])
def test_retention_is_a_share(retention: float) -> None:
    with pytest.raises(ConfigError, match="retention must be 0 \\(off\\) or a share up to 1"):
        build_aggregator(component("sieve", retention=retention))


def test_it_brings_its_own_constraint() -> None:
    assert build_aggregator(component("sieve")).constraints == ("exposure_cap",)
