"""Means, intervals, tests and fronts against scipy and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.report.statistics import Estimate, estimate, holm, outstanding, paired, pareto, seed_means

values = st.lists(st.floats(-10, 10), min_size=3, max_size=8)


def test_the_interval_by_hand() -> None:
    """1, 2, 3: s = 1, t_{.975, 2} = 4.30265, so the half width is 4.30265 / √3."""
    found = estimate({4: 1.0, 5: 2.0, 6: 3.0})
    assert found is not None
    assert (found.mean, found.n) == (2.0, 3)
    assert found.half == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert (found.low, found.high) == (found.mean - found.half, found.mean + found.half)


@given(values)
def test_the_interval_is_scipys(sample: list[float]) -> None:
    found = estimate(dict(enumerate(sample)))
    assert found is not None
    if np.std(sample) < 1e-9:
        return
    low, high = stats.t.interval(0.95, len(sample) - 1, np.mean(sample), stats.sem(sample))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-12)


def test_one_or_two_values_have_no_interval_and_none_no_mean() -> None:
    assert estimate({0: 0.3}) == Estimate(0.3, None, 1)
    two = estimate({7: 0.25, 8: 0.75})
    assert two == Estimate(0.5, None, 2)
    assert two.seeds == {7: 0.25, 8: 0.75}  # shown in its place
    assert estimate({}) is None
    one = Estimate(0.3, None, 1)
    assert (one.low, one.high) == (0.3, 0.3)


def test_the_paired_test_by_hand() -> None:
    """Differences 1, 2, 3: t = 2 / (1 / √3) = 3.4641 with 2 degrees of freedom, p = .07418."""
    found = paired({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert found is not None
    assert (found.difference, found.n) == (2.0, 3)
    assert found.p == pytest.approx(0.07418, abs=1e-5)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=3, max_size=8))
def test_the_paired_test_is_scipys(pairs: list[tuple[float, float]]) -> None:
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    if np.std(a - b) < 1e-6:
        return
    found = paired(dict(enumerate(a)), dict(enumerate(b)))
    assert found is not None
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-6, abs=1e-12)


def test_only_common_seeds_are_paired() -> None:
    found = paired({0: 1.0, 1: 2.0, 2: 4.0, 5: 9.0}, {1: 1.0, 0: 0.5, 2: 2.5, 7: 0.0})
    assert found is not None
    assert (found.n, found.difference) == (3, 1.0)
    assert paired({0: 1.0, 1: 2.0, 2: 3.0}, {1: 1.0, 2: 2.0}) is None
    assert paired({}, {}) is None


def test_without_spread_there_is_a_test_of_no_difference_alone() -> None:
    """Three runs with 100 % against three with none: the formula's limit would be p = 0."""
    same = paired({0: 1.0, 1: 2.0, 2: 1.0}, {0: 1.0, 1: 2.0, 2: 1.0})
    assert same is not None
    assert (same.difference, same.p) == (0.0, 1.0)
    assert paired({0: 1.0, 1: 1.0, 2: 1.0}, {0: 0.0, 1: 0.0, 2: 0.0}) is None
    assert paired({0: 1.5, 1: 2.5, 2: 1.5}, {0: 1.0, 1: 2.0, 2: 1.0}) is None


def test_holm_by_hand() -> None:
    """Sorted .01 .03 .04 of 3: .03, .06, max(.06, .04) = .06."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(ps: list[float]) -> None:
    adjusted = holm(ps)
    for p, q in zip(ps, adjusted, strict=True):
        assert p <= q <= min(1.0, len(ps) * p) + 1e-15
    order = sorted(range(len(ps)), key=ps.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_only_what_a_test_supports_stands_out() -> None:
    def of(*values: float) -> Estimate:
        found = estimate(dict(enumerate(values)))
        assert found is not None
        return found

    low, middle, high = of(0.1, 0.11, 0.12), of(0.2, 0.22, 0.2), of(0.5, 0.51, 0.53)
    assert outstanding([low, high, middle], "high") == 1
    assert outstanding([low, high, middle], "low") == 0
    near = of(0.49, 0.52, 0.53)  # higher than the third in the mean alone
    assert outstanding([low, near, high], "high") is None
    assert outstanding([of(0.1, 0.1), of(0.5, 0.5)], "high") is None  # two seeds
    assert outstanding([high], "high") is None
    assert outstanding([high, high], "high") is None
    assert outstanding([high, Estimate(0.1, None, 1)], "high") is None  # of other seeds


def test_seeds_average_the_conditions_that_all_of_them_have() -> None:
    found = {("a", 0): 1.0, ("b", 0): 3.0, ("a", 1): 2.0, ("b", 1): 4.0, ("c", 1): 100.0}
    assert seed_means(found) == {0: 2.0, 1: 3.0}
    assert seed_means({("a", 0): 1.0, ("b", 1): 5.0}) == {0: 1.0, 1: 5.0}
    assert seed_means({}) == {}


def test_the_front_is_what_nothing_beats() -> None:
    points = [(1.0, 0.0), (0.5, 0.5), (0.4, 0.4), (0.0, 1.0), (0.5, 0.2), (1.0, 0.0)]
    assert pareto(points) == [True, True, False, True, False, True]
    assert pareto([]) == []
