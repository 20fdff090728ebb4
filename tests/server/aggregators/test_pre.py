"""Pre-aggregators against their obvious versions, and in front of every rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import ConfigError, RunError, UnknownName
from common.settings import component
from server.aggregators import AGGREGATORS, Aggregate, build_aggregator
from server.aggregators.gram import gram
from server.aggregators.pre import PRE, Composed, with_pre
from tests.server.aggregators.helpers import a_round, flat, flat_of, from_flat, make, served


def matrix(name: str, n: int, f: int = 0, **params: object) -> torch.Tensor:
    composed = with_pre(build_aggregator(component("mean")), [component(name, **params)])
    assert isinstance(composed, Composed)
    return composed.mixers[0].matrix(gram(make(n)), a_round(n, f))


def run(pre: list[str], rule: str, n: int, f: int = 2) -> Aggregate:
    built = with_pre(build_aggregator(component(rule)), [component(name) for name in pre])
    result, _ = built(make(n), built.init(), a_round(n, f))
    return result


def test_nnm_is_the_mean_of_the_nearest() -> None:
    u = flat(make(9)).numpy()
    ours = (matrix("nnm", 9, 3) @ flat(make(9))).numpy()
    for i, row in enumerate(u):
        near = np.argsort(((u - row) ** 2).sum(axis=1), kind="stable")[:6]
        np.testing.assert_allclose(ours[i], u[near].mean(axis=0), rtol=1e-9)


def test_nnm_keeps_an_update_among_its_equals() -> None:
    updates = make(5).take(torch.zeros(5, dtype=torch.int64))
    composed = with_pre(build_aggregator(component("mean")), [component("nnm")])
    assert isinstance(composed, Composed)
    mixing = composed.mixers[0].matrix(gram(updates), a_round(5, 2))
    assert (mixing.diagonal() > 0).all()


@pytest.mark.parametrize(
    ("n", "f", "size", "buckets"), [(9, 2, 2, 5), (9, 2, 0, 5), (12, 2, 0, 6), (13, 2, 0, 5), (5, 0, 0, 5)]
)
def test_buckets_are_means_of_a_partition(n: int, f: int, size: int, buckets: int) -> None:
    mixing = matrix("bucketing", n, f, size=size)
    assert mixing.shape == (buckets, n)
    torch.testing.assert_close(mixing.sum(dim=1), torch.ones(buckets, dtype=torch.float64))
    assert ((mixing > 0).sum(dim=0) == 1).all()


@pytest.mark.parametrize("n", [12, 20, 24, 32, 64, 65])
@pytest.mark.parametrize("f", [1, 2, 4, 5])
def test_buckets_of_no_size_leave_an_honest_majority(n: int, f: int) -> None:
    left = len(matrix("bucketing", n, f, size=0))
    assert left > 2 * f
    assert left <= max(2 * f + 1, -(-n // max(1, (n - 1) // (2 * f))))


def test_clip_brings_the_large_to_the_median_norm() -> None:
    u = flat(make(9))
    size = u.norm(dim=1)
    expected = size.clamp(max=float(size.median()))
    torch.testing.assert_close((matrix("clip", 9) @ u).norm(dim=1), expected)
    assert float((matrix("clip", 9, max_norm=1e-3) @ u).norm(dim=1).max()) == pytest.approx(1e-3)


@pytest.mark.parametrize(("n", "f", "clipped"), [(10, 2, 3), (10, 0, 0), (12, 5, 5), (3, 1, 1)])
def test_arc_clips_as_many_as_its_formula_says(n: int, f: int, clipped: int) -> None:
    u = flat(make(n))
    size = u.norm(dim=1)
    bound = size.sort(descending=True).values[clipped]
    ours = (matrix("arc", n, f) @ u).norm(dim=1)
    torch.testing.assert_close(ours, size.clamp(max=float(bound)))
    assert int((ours < size * (1 - 1e-9)).sum()) == clipped


@pytest.mark.parametrize("rule", sorted(AGGREGATORS))
@pytest.mark.parametrize(
    "pre", [[name] for name in sorted(PRE)] + [["clip", "nnm"], ["arc", "bucketing", "nnm"]]
)
def test_mixing_in_gram_space_is_mixing_the_updates(pre: list[str], rule: str) -> None:
    updates, f = make(21), 2  # eleven buckets of two: what bulyan needs
    built = with_pre(build_aggregator(component(rule)), [component(name) for name in pre])
    assert isinstance(built, Composed)
    ours, _ = built(updates, built.init(), served(updates, f))
    products, values, setting = gram(updates), flat(updates), served(updates, f)
    for mixer in built.mixers:
        mixing = mixer.matrix(products, setting)
        products, values = mixing @ products @ mixing.T, mixing @ values
    direct = from_flat(values.float(), make(len(values)))
    after = replace(setting, identity=a_round(len(values)).identity)  # its generator as the mixers left it
    plain, _ = built.rule(direct, built.rule.init(), after)
    torch.testing.assert_close(flat_of(ours), flat_of(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pre", sorted(PRE))
@pytest.mark.parametrize("rule", ["mean", "krum", "geometric_median"])
def test_weights_go_back_to_the_devices(pre: str, rule: str) -> None:
    result = run([pre], rule, n=14)
    assert result.weights is not None
    torch.testing.assert_close(
        flat_of(result), result.weights.double() @ flat(make(14)), rtol=1e-4, atol=1e-5
    )


def test_a_mixed_row_is_touched_where_a_part_is() -> None:
    updates = make(9)
    touched = torch.zeros(9, updates.rows.shape[1], dtype=torch.bool)
    touched[4, 2] = True
    updates = replace(updates, rows=updates.rows * touched[:, :, None], touched=touched)
    built = with_pre(
        build_aggregator(component("median", electorate="touched")), [component("bucketing", size=9)]
    )
    result, _ = built(updates, built.init(), a_round(9, 0))
    torch.testing.assert_close(result.rows[2], updates.rows[4, 2] / 9)
    assert result.rows[:2].abs().max() == 0


def test_nnm_makes_the_mean_withstand_a_far_attacker() -> None:
    values = flat(make(11)).float()
    values[10] = 1e6
    updates = from_flat(values, make(11))
    built = with_pre(build_aggregator(component("krum")), [component("nnm")])
    result, _ = built(updates, built.init(), a_round(11, 1))
    plain, _ = build_aggregator(component("mean"))(updates, {}, a_round(11, 1))
    assert float(flat_of(plain).norm()) > 1e4
    assert float(flat_of(result).norm()) < 10


def test_the_bound_counts_what_the_mixers_leave() -> None:
    built = with_pre(build_aggregator(component("krum")), [component("bucketing", size=2)])
    assert built.least(2) == 13  # krum needs 2·2 + 3 = 7 buckets of two: 13 devices
    with pytest.raises(RunError, match="krum after bucketing .* at least 13"):
        built(make(12), built.init(), a_round(12, 2))


def test_mixers_that_never_leave_enough_are_refused() -> None:
    built = with_pre(build_aggregator(component("krum")), [component("bucketing", size=0)])
    with pytest.raises(RunError, match="no number of devices leaves the 5 updates that krum needs"):
        built.least(1)  # ⌊n/2⌋ to a bucket leaves two or three buckets, whatever n
    assert built.least(2) == 7
    with pytest.raises(RunError, match="krum after bucketing .* at least 7 updates, this round has 5"):
        built(make(20), built.init(), a_round(20, 2))


def test_wrong_names_and_values_are_settings_errors() -> None:
    rule = build_aggregator(component("mean"))
    with pytest.raises(UnknownName, match="nnm"):
        with_pre(rule, [component("nmn")])
    with pytest.raises(ConfigError, match="bucketing"):
        with_pre(rule, [component("bucketing", size=-1)])
    with pytest.raises(ConfigError, match="clip"):
        with_pre(rule, [component("clip", max_norm=0.0)])
