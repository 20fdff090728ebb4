"""multi_krum, mda, caf, dnc and flame against their obvious versions, and their corners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, RunError
from common.settings import component
from server.aggregators import build_aggregator
from tests.server.aggregators import oracles, oracles_gram
from tests.server.aggregators.helpers import apply, attacked, flat, flat_of, from_flat, make

rounds = given(f=st.integers(0, 4), extra=st.integers(0, 4), seed=st.integers(0, 99))


def near(ours: torch.Tensor, theirs: oracles.Values) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=2e-6)


def chosen(name: str, n: int, f: int, seed: int = 0, **params: object) -> list[int]:
    weights = apply(name, make(n, seed), f, **params).weights
    assert weights is not None
    return weights.nonzero().flatten().tolist()


@rounds
@settings(max_examples=20)
def test_multi_krum_averages_the_n_minus_f_best(f: int, extra: int, seed: int) -> None:
    n = 2 * f + 3 + extra
    expected = oracles.krum(flat(make(n, seed)).numpy(), n - f - 2, n - f)
    near(flat_of(apply("multi_krum", make(n, seed), f)), expected)


def test_multi_krum_is_krum_with_another_default() -> None:
    assert torch.equal(
        flat_of(apply("multi_krum", make(9), 2, select=3)), flat_of(apply("krum", make(9), 2, select=3))
    )
    with pytest.raises(RunError, match="multi_krum against 2 .* at least 7"):
        apply("multi_krum", make(6), 2)


@rounds
@settings(max_examples=40)
def test_caf_follows_the_covariance_itself(f: int, extra: int, seed: int) -> None:
    n = 2 * f + 1 + extra
    near(flat_of(apply("caf", make(n, seed), f)), oracles_gram.caf(flat(make(n, seed)).numpy(), f))


def test_caf_removes_a_device_a_turn_even_beside_one_far_away() -> None:
    """The far one keeps the largest τ after its removal; a maximum over all would then fade nobody."""
    values = flat(make(11)).float()
    values[0, 0] = 1e9
    result = apply("caf", from_flat(values, make(11)), 3)
    assert result.figures["caf.turns"] <= 11
    assert result.weights is not None
    assert float(result.weights[0]) == 0
    assert float(flat_of(result).norm()) < 5


def test_caf_without_attackers_is_the_mean() -> None:
    near(flat_of(apply("caf", make(6))), oracles.mean(flat(make(6)).numpy()))


@rounds
@settings(max_examples=40)
def test_dnc_drops_the_ends_of_the_first_singular_vector(f: int, extra: int, seed: int) -> None:
    n = 2 * f + 1 + extra
    kept = oracles_gram.dnc_kept(flat(make(n, seed)).numpy(), f)
    assert chosen("dnc", n, f, seed) == kept
    near(flat_of(apply("dnc", make(n, seed), f)), oracles.mean(flat(make(n, seed)).numpy()[kept]))


def test_dnc_drops_c_times_f() -> None:
    assert chosen("dnc", 12, 2, drop=1.5) == oracles_gram.dnc_kept(flat(make(12)).numpy(), 3)
    assert len(chosen("dnc", 60, 25, drop=1.16)) == 31  # 1.16 · 25 is a little below 29 in binary
    with pytest.raises(RunError, match="at least 9"):
        apply("dnc", make(8), 2, drop=4.0)


def test_dnc_on_samples_keeps_what_no_pass_dropped() -> None:
    updates = make(12)
    everything = set(range(12))
    kept = everything
    g = torch.Generator().manual_seed(5)  # the seed of a_round
    for _ in range(4):
        at = torch.randperm(22, generator=g)[:11].numpy()
        at = np.concatenate([at[at < 7], at[at >= 7]])
        kept = kept & set(oracles_gram.dnc_kept(flat(updates).numpy()[:, at], 2))
    assert kept not in (everything, set())
    assert chosen("dnc", 12, 2, sample=0.5, iterations=4) == sorted(kept)


def test_dnc_keeps_somebody_when_every_device_was_dropped_once() -> None:
    kept = chosen("dnc", 5, 2, sample=1e-9, iterations=40)  # one coordinate a pass, two dropped in each
    assert 0 < len(kept) < 5


def test_a_shift_in_few_coordinates_shows_in_all_of_them_and_hides_from_most_samples() -> None:
    values = flat(make(20, width=400)).float()
    values[:4, 3] += 500
    updates = from_flat(values, make(20, width=400))
    full, part = apply("dnc", updates, 4), apply("dnc", updates, 4, sample=0.05, iterations=1)
    assert float(full.encoder[3]) < 5
    assert float(part.encoder[3]) > 50


@given(n=st.integers(3, 14), seed=st.integers(0, 99), offset=st.sampled_from([0.0, 0.5, 2.0]))
@settings(max_examples=40)
def test_flame_keeps_the_majority_of_directions_and_clips_it(n: int, seed: int, offset: float) -> None:
    updates = make(n, seed, offset=offset)
    near(flat_of(apply("flame", updates)), oracles_gram.flame(flat(updates).numpy()))


def test_flame_drops_another_direction_and_clips_a_large_norm() -> None:
    values = flat(make(15, scale=0.3, offset=1.0)).float()
    values[:4] *= -1
    values[4] = 100 * values[11]
    result = apply("flame", from_flat(values, make(15)), 4)
    assert result.weights is not None
    assert result.weights[:4].tolist() == [0.0] * 4
    assert int((result.weights > 0).sum()) == result.figures["flame.kept"] >= 8
    assert 0 < float(result.weights[4]) < 0.02  # the same direction as device 11
    assert float(result.weights[11]) > 0.05
    assert result.figures["flame.bound"] == pytest.approx(float(values.norm(dim=1).median()))


def test_flame_keeps_all_where_all_angles_are_alike() -> None:
    values = torch.eye(22)[:6]  # orthogonal: every distance is 1
    assert apply("flame", from_flat(values, make(6))).figures["flame.kept"] == 6


def test_flames_noise_has_the_width_it_says_and_comes_from_the_round() -> None:
    updates = make(9, width=20_000)
    quiet, loud = apply("flame", updates), apply("flame", updates, noise=0.01)
    noise = loud.encoder - quiet.encoder
    assert float(noise.std()) == pytest.approx(0.01 * quiet.figures["flame.bound"], rel=0.03)
    assert float(noise.mean().abs()) < 0.03 * float(noise.std())
    assert (loud.rows != quiet.rows).all()
    assert torch.equal(loud.encoder, apply("flame", updates, noise=0.01).encoder)


@pytest.mark.parametrize("name", ["mda", "caf", "dnc", "flame", "centred_clipping"])
def test_two_f_plus_one_is_the_least(name: str) -> None:
    assert flat_of(apply(name, make(5), 2)).isfinite().all()
    with pytest.raises(RunError, match=f"{name} against 2 .* at least 5 updates, this round has 4"):
        apply(name, make(4), 2)


@pytest.mark.parametrize("name", ["mda", "caf", "dnc"])
@pytest.mark.parametrize("distance", [50.0, 1e12])
def test_colluders_far_away_get_no_weight(name: str, distance: float) -> None:
    weights = apply(name, attacked(12, 5, distance), 5).weights
    assert weights is not None
    assert weights[12:].tolist() == pytest.approx([0.0] * 5, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("multi_krum", {"select": -1}),
        ("dnc", {"sample": 0.0}),
        ("dnc", {"sample": 1.5}),
        ("dnc", {"iterations": 0}),
        ("dnc", {"drop": -1.0}),
        ("flame", {"noise": -0.1}),
        ("flame", {"noise": float("nan")}),
        ("mda", {"search": "best"}),
        ("mda", {"branches": 0}),
        ("centred_clipping", {"tau": 0.0}),
        ("centred_clipping", {"relative": float("inf")}),
        ("centred_clipping", {"iterations": 0}),
        ("foolsgold", {"confidence": 0.0}),
        ("foolsgold", {"width": 0}),
        ("foolsgold", {"capacity": 1.5}),
    ],
)
def test_invalid_values_are_settings_errors(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=name):
        build_aggregator(component(name, **params))
