"""Statistics over nodes: what one liar can move, and who is named."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, median

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.metrics import exposure_values, rank_values
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums
from server.evaluation.over_nodes import far_outside, over_nodes, widened


def part(ranks: list[int], exposed: list[int] | None = None, epsilon: float = 0.0) -> EvaluateSums:
    """A node of devices with these ranks, and those of one target."""
    told = torch.tensor(ranks, dtype=torch.int64)
    metrics = torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64)
    metrics[0] = rank_values(told, told).sum(0)
    targets = torch.tensor(exposed if exposed is not None else [], dtype=torch.int64)
    count = torch.tensor([len(ranks), 0, 0, 0, 0])
    exposure = exposure_values(targets).sum(0, keepdim=True) if exposed else torch.zeros(1, len(EXPOSURES))
    return EvaluateSums(metrics, count, exposure, torch.tensor([len(targets)]), epsilon=epsilon)


def some(node: int, n: int = 20, share: float = 0.1) -> EvaluateSums:
    """A node of which ``share`` of the devices, one more or less, find their item."""
    hits = round(share * n) + node % 3 - 1
    return part([3] * hits + [500] * (n - hits))


def test_median_and_trimmed_mean_are_those_of_the_nodes_means() -> None:
    parts = {node: some(node, 10 + node) for node in range(1, 8)}
    found = over_nodes(parts)
    values = [float(p.metrics[0, METRICS.index("hr@10")] / p.count[0]) for p in parts.values()]
    assert found["nodes"] == 7
    assert found["median"]["hr@10"] == pytest.approx(median(values))
    assert found["trimmed_mean"]["hr@10"] == pytest.approx(fmean(sorted(values)[1:-1]))
    assert set(found["median"]) == set(found["trimmed_mean"]) == set(METRICS)


def test_nodes_without_devices_and_randomised_ones_have_no_voice() -> None:
    parts = {1: some(1), 2: some(2), 3: part([]), 4: part([0], epsilon=3.0)}
    assert over_nodes(parts) == {}
    assert over_nodes({**parts, 5: some(3)})["nodes"] == 3


def test_exposure_is_over_the_nodes_that_tell_it() -> None:
    parts = {node: part([3, 500], [node, 30]) for node in (1, 2, 3)}
    assert over_nodes(parts)["median"]["er@10"] == pytest.approx(0.5)
    assert "er@10" not in over_nodes({**parts, 3: part([3, 500])})["median"]  # two are no middle


def test_a_liar_is_named_and_the_honest_are_not() -> None:
    parts = {node: some(node, n) for node, n in enumerate((3, 10, 20, 40, 90), start=1)}
    assert far_outside(parts) == {}
    (node, why), *others = far_outside({**parts, 9: part([0] * 20)}).items()
    assert (node, others) == (9, [])
    assert "hr@10 1.0000, median 0." in why


def test_hidden_exposure_is_named_too() -> None:
    parts = {node: part([3] * 4 + [99] * 36, [5] * 32 + [80] * 8) for node in range(1, 6)}
    assert far_outside(parts) == {}
    hidden = part([3] * 4 + [99] * 36, [900] * 40)
    assert list(far_outside({**parts, 6: hidden})) == [6]


@given(ranks=st.lists(st.integers(0, 10**4), min_size=1, max_size=3), level=st.integers(0, 500))
def test_a_node_of_one_user_is_never_named_by_chance(ranks: list[int], level: int) -> None:
    """Whatever its ranks, and however alike the large nodes are."""
    parts = {node: part([3] * level + [500] * (500 - level)) for node in range(1, 6)}
    assert far_outside({**parts, 6: part(ranks[:1])}) == {}


def test_how_much_wider_an_interval_is() -> None:
    exact, noisy = part([3] * 10 + [500] * 90), part([3], epsilon=3.0)
    assert widened([exact], [1.0], 0.1) == 1.0
    alone = widened([noisy] * 100, [1.0] * 100, 0.1)
    assert alone == pytest.approx((0.2425 / 0.14221604809761546**2 / 0.09) ** 0.5, rel=0.01)
    assert widened([exact, noisy], [1.0, 1.0], 0.1) == pytest.approx(1.52, abs=0.01)
    assert widened([exact, noisy], [1.0, 0.0], 0.1) == 1.0


def test_sums_a_rounding_above_what_n_devices_have_end_nothing() -> None:
    """The decoder lets 1e-4 of rounding through: with large claims the mean is above 1 by as much."""
    loud = part([0] * 20_000)
    loud = replace(loud, metrics=loud.metrics * 1.0001)
    assert far_outside({1: loud, 2: loud, 3: loud}) == {}
    assert set(far_outside({1: loud, 2: loud, 3: loud, 4: part([500] * 30)})) == {4}
