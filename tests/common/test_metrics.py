"""Metrics from ranks, and sums over nodes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.metrics import add, exposure_values, exposures, exposures_by_target, means, rank_values
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums

RANKS = [0, 1, 4, 5, 9, 10, 19, 20, 500]


@pytest.mark.parametrize("k", [5, 10, 20])
def test_values_of_a_rank_are_their_formulas(k: int) -> None:
    filtered, unfiltered = torch.tensor(RANKS), torch.tensor(RANKS[::-1])
    values = dict(zip(METRICS, rank_values(filtered, unfiltered).T.tolist(), strict=True))
    for suffix, ranks in (("", RANKS), ("_unfiltered", RANKS[::-1])):
        assert values[f"hr@{k}{suffix}"] == [float(r < k) for r in ranks]
        expected = [1 / math.log2(r + 2) if r < k else 0.0 for r in ranks]
        assert values[f"ndcg@{k}{suffix}"] == pytest.approx(expected, rel=1e-12)
        assert values[f"mrr{suffix}"] == pytest.approx([1 / (r + 1) for r in ranks], rel=1e-12)
    exposed = dict(zip(EXPOSURES, exposure_values(filtered).T.tolist(), strict=True))
    assert exposed[f"er@{k}"] == values[f"hr@{k}"]
    assert exposed[f"t_ndcg@{k}"] == values[f"ndcg@{k}"]


@given(ranks=st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_every_value_lies_between_zero_and_one_and_larger_cuts_find_more(ranks: list[int]) -> None:
    ranks_ = torch.tensor(ranks)
    values = rank_values(ranks_, ranks_)
    assert values.shape == (len(ranks), len(METRICS))
    assert values.dtype == torch.float64
    assert bool(((values >= 0) & (values <= 1)).all())
    named = dict(zip(METRICS, values.T, strict=True))
    for name in ("hr", "ndcg"):
        assert bool((named[f"{name}@5"] <= named[f"{name}@10"]).all())
        assert bool((named[f"{name}@10"] <= named[f"{name}@20"]).all())
    assert bool((named["ndcg@10"] <= named["hr@10"]).all())


def sums(seed: int, targets: int = 2) -> EvaluateSums:
    g = torch.Generator().manual_seed(seed)
    count = torch.randint(1, 9, (len(GROUPS) - 1,), generator=g)
    metrics = torch.rand(len(GROUPS) - 1, len(METRICS), generator=g, dtype=torch.float64)
    return EvaluateSums(
        metrics=torch.cat([metrics.sum(0, keepdim=True), metrics]),
        count=torch.cat([count.sum(0, keepdim=True), count]),
        exposure=torch.rand(targets, len(EXPOSURES), generator=g, dtype=torch.float64),
        eligible=torch.randint(1, 9, (targets,), generator=g),
    )


def test_sums_add_field_by_field() -> None:
    parts = [sums(s) for s in range(3)]
    whole = add(parts)
    for name in ("metrics", "count", "exposure", "eligible"):
        expected = sum(getattr(p, name) for p in parts)
        torch.testing.assert_close(getattr(whole, name), expected)
    assert torch.equal(add([parts[0]]).metrics, parts[0].metrics)


def test_means_weigh_devices_not_nodes() -> None:
    one, many = sums(0), sums(1)
    found = means(add([one, many]))
    expected = (one.metrics[0, 0] + many.metrics[0, 0]) / (one.count[0] + many.count[0])
    assert found["all"]["hr@5"] == pytest.approx(float(expected))
    assert list(found) == list(GROUPS)
    assert list(found["q3"]) == list(METRICS)


def test_groups_without_devices_are_left_out() -> None:
    some = sums(0)
    some.count[2] = 0
    assert list(means(some)) == ["all", "q1", "q3", "q4"]
    some.count[:] = 0
    assert means(some) == {}


def test_exposure_is_the_mean_over_targets_of_the_share_of_devices() -> None:
    some = sums(0)
    some.exposure[:] = torch.tensor([[1.0] * len(EXPOSURES), [3.0] * len(EXPOSURES)])
    some.eligible[:] = torch.tensor([10, 4])
    assert exposures(some) == pytest.approx(dict.fromkeys(EXPOSURES, (0.1 + 0.75) / 2))


def test_exposure_of_each_target_has_the_headline_as_its_mean() -> None:
    some = sums(4)
    found = exposures_by_target(some, (17, 3))
    assert list(found) == [17, 3]
    assert found[3]["er@10"] == pytest.approx(float(some.exposure[1, 1] / some.eligible[1]))
    mean = {name: (found[17][name] + found[3][name]) / 2 for name in EXPOSURES}
    assert exposures(some) == pytest.approx(mean)
    some.eligible[0] = 0
    assert list(exposures_by_target(some, (17, 3))) == [3]
    assert exposures_by_target(sums(0, targets=0), ()) == {}


def test_a_target_that_every_device_knows_is_left_out() -> None:
    some = sums(0)
    some.exposure[:] = torch.tensor([[0.0] * len(EXPOSURES), [3.0] * len(EXPOSURES)])
    some.eligible[:] = torch.tensor([0, 4])
    assert exposures(some) == pytest.approx(dict.fromkeys(EXPOSURES, 0.75))
    some.eligible[:] = 0
    assert exposures(some) == {}
    assert exposures(sums(0, targets=0)) == {}
