"""Full ranking against a slow and obvious implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import client.ranking
from client.ranking import evaluate, rank, score
from common.data.types import Items
from common.metrics import add, means
from common.models import build_model
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums, GlobalModel
from tests.client.oracle import hidden_of
from tests.client.samples import ITEMS, MAX_LEN, histories, history, model_config, parameters

QUARTILES = (2, 9, 11)


def slow_rank(scores: list[float], item: int, excluded: set[int]) -> int:
    """Sort the catalogue by (score descending, number) and look where the item stands."""
    if not math.isfinite(scores[item]):
        return len(scores)
    candidates = [
        i for i in range(len(scores)) if i == item or (i not in excluded and not math.isnan(scores[i]))
    ]
    return sorted(candidates, key=lambda i: (-scores[i], i)).index(item)


def slow_values(rank_: int) -> dict[str, float]:
    values = {f"hr@{k}": float(rank_ < k) for k in (5, 10, 20)}
    values |= {f"ndcg@{k}": (1 / math.log2(rank_ + 2) if rank_ < k else 0.0) for k in (5, 10, 20)}
    return values | {"mrr": 1 / (rank_ + 1)}


def slow(
    scores: Tensor, sequences: Sequence[Items], answers: Sequence[int], targets: Sequence[int]
) -> EvaluateSums:
    """Device by device, in Python numbers."""
    metrics = torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64)
    count = torch.zeros(len(GROUPS), dtype=torch.int64)
    exposure = torch.zeros(len(targets), len(EXPOSURES), dtype=torch.float64)
    eligible = torch.zeros(len(targets), dtype=torch.int64)
    for row, items, answer in zip(scores.tolist(), sequences, answers, strict=True):
        seen = set(items.tolist())
        plain = slow_values(slow_rank(row, answer, {0}))
        values = slow_values(slow_rank(row, answer, seen | {0})) | {
            f"{name}_unfiltered": v for name, v in plain.items()
        }
        quartile = sum(len(items) > bound for bound in QUARTILES)
        for group in (0, 1 + quartile):
            metrics[group] += torch.tensor([values[m] for m in METRICS], dtype=torch.float64)
            count[group] += 1
        for place, target in enumerate(targets):
            if target in seen or target == answer:
                continue
            found = slow_values(slow_rank(row, target, seen | {0}))
            exposure[place] += torch.tensor(
                [found[e.replace("er@", "hr@").replace("t_ndcg@", "ndcg@")] for e in EXPOSURES],
                dtype=torch.float64,
            )
            eligible[place] += 1
    return EvaluateSums(metrics, count, exposure, eligible)


def equal(a: EvaluateSums, b: EvaluateSums) -> None:
    torch.testing.assert_close(a.metrics, b.metrics)
    torch.testing.assert_close(a.exposure, b.exposure)
    assert torch.equal(a.count, b.count)
    assert torch.equal(a.eligible, b.eligible)


@pytest.fixture
def fixed_scores(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Scores with many ties, NaN and infinities, in place of a model's: one row a device."""
    g = torch.Generator().manual_seed(2)
    values = torch.randint(-4, 5, (40, ITEMS + 1), generator=g).float()
    values[0, 5], values[1, 6], values[2, 7] = float("nan"), float("inf"), -float("inf")
    values[3] = float("nan")
    values[4] = 0.0
    start = iter(range(0, 40, client.ranking.BUCKET))

    def some(*args: object) -> Tensor:
        first = next(start)
        return values[first : first + client.ranking.BUCKET]

    monkeypatch.setattr(client.ranking, "score", some)
    return values


def devices(n: int) -> tuple[list[Items], list[int]]:
    """Histories of 0 to 14 items; every fifth device has its answer in its history."""
    sequences = [history(i % 15, seed=i) for i in range(n)]
    answers = [1 + (7 * i + 5) % ITEMS for i in range(n)]
    for i in range(4, n, 5):
        answers[i] = int(sequences[i][0]) if len(sequences[i]) else answers[i]
    return sequences, answers


def run(sequences: Sequence[Items], answers: Sequence[int], targets: Sequence[int]) -> EvaluateSums:
    config = model_config()
    model = build_model(config)
    return evaluate(model, parameters(config), sequences, answers, targets, QUARTILES, MAX_LEN)


def test_everything_equals_the_slow_implementation(fixed_scores: Tensor) -> None:
    sequences, answers = devices(40)
    answers[:4] = [5, 6, 7, 8]
    expected = slow(fixed_scores, sequences, answers, (3, 7, 12))
    found = run(sequences, answers, (3, 7, 12))
    equal(found, expected)
    assert found.count.tolist()[0] == 40
    assert 0 not in found.count.tolist()  # every quartile is covered
    assert sorted(found.eligible.tolist()) != [40] * 3


@pytest.mark.parametrize("bucket", [1, 7])
def test_devices_are_scored_in_bounded_groups(
    fixed_scores: Tensor, monkeypatch: pytest.MonkeyPatch, bucket: int
) -> None:
    monkeypatch.setattr(client.ranking, "BUCKET", bucket)
    start, sizes = iter(range(0, 40, bucket)), []

    def some(model: object, parameters: object, group: Sequence[Items], max_len: int) -> Tensor:
        sizes.append(len(group))
        first = next(start)
        return fixed_scores[first : first + bucket]

    monkeypatch.setattr(client.ranking, "score", some)
    sequences, answers = devices(40)
    equal(run(sequences, answers, (3,)), slow(fixed_scores, sequences, answers, (3,)))
    assert max(sizes) == bucket


def test_the_sums_of_nodes_add_up_to_the_whole() -> None:
    sequences, answers = devices(40)
    whole = run(sequences, answers, (3, 7))
    parts = [run(sequences[i::3], answers[i::3], (3, 7)) for i in range(3)]
    equal(add(parts), whole)
    assert means(add(parts))["all"] == pytest.approx(means(whole)["all"])


def test_no_device_gives_empty_sums() -> None:
    found = run([], [], (3, 7))
    assert found.metrics.shape == (len(GROUPS), len(METRICS))
    assert found.exposure.shape == (2, len(EXPOSURES))
    for tensor in (found.metrics, found.count, found.exposure, found.eligible):
        assert not bool(tensor.any())
    assert found.count.dtype == found.eligible.dtype == torch.int64


@settings(max_examples=60)
@given(
    values=st.lists(
        st.one_of(st.integers(-2, 2).map(float), st.sampled_from([math.nan, math.inf, -math.inf])),
        min_size=2,
        max_size=9,
    ),
    data=st.data(),
)
def test_a_rank_is_a_place_in_the_sorted_catalogue(values: list[float], data: st.DataObject) -> None:
    item = data.draw(st.integers(0, len(values) - 1))
    excluded = data.draw(st.sets(st.integers(0, len(values) - 1)))
    mask = torch.tensor([[i in excluded for i in range(len(values))]])
    found = rank(torch.tensor([values]), torch.tensor([item]), mask)
    assert found.tolist() == [slow_rank(values, item, excluded)]
    assert found.dtype == torch.int64


def test_ties_go_to_the_lower_number_so_a_constant_model_gains_nothing() -> None:
    scores = torch.zeros(1, 6)
    none = torch.zeros(1, 6, dtype=torch.bool)
    assert [int(rank(scores, torch.tensor([i]), none)) for i in range(6)] == [0, 1, 2, 3, 4, 5]


def one(model_scores: list[float], seen: list[int], answer: int, targets: Sequence[int] = ()) -> EvaluateSums:
    """Evaluate one device on a made-up model: hidden state 1, so that the table is the scores."""

    class Constant(torch.nn.Module):
        def forward(self, items: Tensor, padding: Tensor, positions: Tensor) -> Tensor:
            return torch.ones_like(items)[positions]

    module = Constant()
    module.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))  # a layout needs one
    model = GlobalModel(torch.zeros(1), torch.tensor(model_scores)[:, None])
    sequence = np.array(seen, dtype=np.int32)
    return evaluate(module, model, [sequence], [answer], targets, QUARTILES, MAX_LEN)


def figures(sums: EvaluateSums) -> dict[str, float]:
    return means(sums)["all"]


def test_seen_items_are_filtered_and_not_filtered_beside_it() -> None:
    scores = [99.0, 9.0, 8.0, 7.0, 6.0, 5.0]  # item 0 pads and never competes
    found = figures(one(scores, [1, 2], 4))
    assert found["mrr"] == pytest.approx(1 / 2)  # behind item 3
    assert found["mrr_unfiltered"] == pytest.approx(1 / 4)
    assert found["ndcg@5"] == pytest.approx(1 / math.log2(3))


def test_an_answer_that_recurs_competes_with_the_unseen_items() -> None:
    found = figures(one([0.0, 7.0, 9.0, 8.0, 6.0], [1, 2], 1))
    assert found["mrr"] == pytest.approx(1 / 2)  # behind item 3; item 2 is filtered, the answer is not
    assert found["mrr_unfiltered"] == pytest.approx(1 / 3)


def test_a_model_of_nan_finds_nothing() -> None:
    found = figures(one([math.nan] * 30, [1], 4))
    assert found["hr@20"] == found["hr@20_unfiltered"] == found["ndcg@20"] == 0.0


def test_exposure_is_of_devices_without_the_target() -> None:
    scores = [0.0, *map(float, range(9, 0, -1))]
    for seen, answer, eligible in (([1], 2, 1), ([1, 3], 2, 0), ([1], 3, 0), ([], 2, 1)):
        sums = one(scores, seen, answer, (3,))
        assert sums.eligible.tolist() == [eligible]
        assert bool(sums.exposure.any()) == bool(eligible)
    sums = one(scores, [1, 2], 5, (3,))  # of unseen items the target is first
    assert sums.exposure.tolist() == [[1.0] * len(EXPOSURES)]


def test_history_lengths_fall_into_inclusive_quartiles() -> None:
    for length, group in ((0, "q1"), (2, "q1"), (3, "q2"), (9, "q2"), (10, "q3"), (11, "q3"), (12, "q4")):
        sums = one([0.0, *map(float, range(20, 0, -1))], list(range(1, length + 1)), 19)
        assert set(means(sums)) == {"all", group}


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_scores_are_the_last_hidden_state_times_the_table(name: str) -> None:
    config = model_config(name=name)
    model, start = build_model(config).eval(), parameters(config)
    sequences = histories()
    found = score(model, start, sequences, MAX_LEN)
    assert found.shape == (len(sequences), ITEMS + 1)
    for row, items in zip(found, sequences, strict=True):
        tail = torch.from_numpy(items[-MAX_LEN:]).long()
        if len(tail):
            rows = start.table[tail]
            hidden = hidden_of(model, start.encoder, rows, torch.zeros(len(tail), dtype=torch.bool))[-1]
            torch.testing.assert_close(row, start.table @ hidden, rtol=1e-4, atol=1e-5)
    assert bool(torch.isfinite(found).all())
