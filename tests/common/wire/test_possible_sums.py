"""Sums of real ranks always pass; each bound refuses what no ranks can have."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common import wire
from common.errors import WireError
from common.metrics import exposure_values, rank_values
from common.response import LAST, randomise
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums
from common.wire import SumsSpec
from tests.common.wire.breaking import refused
from tests.common.wire.samples import ROUND, RUN, sums, sums_spec

RANKS = st.integers(0, 25) | st.integers(0, 10**6)
DEVICE = st.tuples(RANKS, RANKS, st.integers(0, 9), st.booleans(), RANKS)


class Chance:
    """A stand-in for the operating system's: what hypothesis draws."""

    def __init__(self, draw: st.DataObject) -> None:
        self._draw = draw

    def random(self) -> float:
        return self._draw.draw(st.floats(0, 1, exclude_max=True))

    def randrange(self, stop: int) -> int:
        return self._draw.draw(st.integers(0, stop - 1))


def of(devices: list[tuple[int, int, int, bool, int]]) -> tuple[EvaluateSums, SumsSpec]:
    """The sums of devices (rank, rivals that they know, history length, eligible, rank of the target)."""
    columns = list(zip(*devices, strict=True)) if devices else [()] * 5
    rank, known, length, eligible, exposed = (torch.tensor(c, dtype=torch.int64) for c in columns)
    place = torch.bucketize(length, torch.tensor([2, 4, 6]))
    member = torch.stack([place >= 0, *(place == q for q in range(4))])
    free = eligible.bool()
    found = EvaluateSums(
        metrics=member.double() @ rank_values(rank, rank + known),
        count=member.sum(1),
        exposure=exposure_values(exposed)[free].sum(0, keepdim=True),
        eligible=free.sum()[None],
        quartiles=(2, 4, 6),
    )
    return found, SumsSpec(RUN, ROUND, length, 1)


def decoded(found: EvaluateSums, spec: SumsSpec) -> EvaluateSums:
    return wire.decode_evaluate_sums(wire.encode_evaluate_sums(found, RUN, ROUND), spec)


@given(devices=st.lists(DEVICE, max_size=40))
def test_sums_of_real_ranks_always_pass(devices: list[tuple[int, int, int, bool, int]]) -> None:
    found, spec = of(devices)
    assert torch.equal(decoded(found, spec).metrics, found.metrics)
    kept_back = replace(found, count=found.count.clone(), metrics=found.metrics.clone())
    kept_back.count[1:], kept_back.metrics[1:] = 0, 0
    decoded(kept_back, spec)


@given(ranks=st.lists(RANKS, min_size=1, max_size=6), data=st.data())
def test_sums_of_randomised_ranks_always_pass(ranks: list[int], data: st.DataObject) -> None:
    spec = SumsSpec(RUN, ROUND, torch.zeros(len(ranks)), 0)
    told = randomise(torch.tensor([ranks, ranks]), 3.0, Chance(data))  # type: ignore[arg-type]
    metrics = torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64)
    metrics[0] = rank_values(told[0], told[1]).sum(0)
    count = torch.tensor([len(ranks), 0, 0, 0, 0])
    none = torch.zeros(0, len(EXPOSURES), dtype=torch.float64)
    decoded(EvaluateSums(metrics, count, none, torch.zeros(0, dtype=torch.int64), epsilon=3.0), spec)


def ten(rank: int) -> EvaluateSums:
    """Ten devices with the same rank, quartiles kept back; no targets."""
    values = torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64)
    values[0] = 10 * rank_values(torch.tensor([rank]), torch.tensor([rank]))[0]
    count = torch.tensor([10, 0, 0, 0, 0])
    none = torch.zeros(0, len(EXPOSURES), dtype=torch.float64)
    return EvaluateSums(values, count, none, torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("suffix", ["", "_unfiltered"])
@pytest.mark.parametrize(
    ("rank", "changes", "why"),
    [
        (7, {"hr@5": 1, "ndcg@5": 1}, "gains"),  # NDCG@10 - NDCG@5 is too small for nine devices
        (7, {"hr@5": 10, "ndcg@5": 4, "hr@10": 0, "ndcg@10": 4}, "fewer hits"),  # HR@5 > HR@10
        (15, {"hr@10": 10, "ndcg@10": 3, "hr@20": 0, "ndcg@20": 3}, "fewer hits"),  # HR@10 > HR@20
        (3, {"hr@5": 11}, "larger than"),  # HR > n
        (3, {"ndcg@20": 11}, "larger than"),  # NDCG > n
        (3, {"hr@5": -1}, "negative"),
        (0, {"hr@5": 5}, "gains"),  # NDCG@5 > HR@5
        (4, {"ndcg@5": 3}, "gains"),  # NDCG@5 < HR@5 / log2(6)
        (4, {"ndcg@10": 3}, "gains"),  # NDCG@10 < NDCG@5
        (9, {"ndcg@10": 2.5, "ndcg@20": 2.5}, "gains"),  # NDCG@10 < HR@10 / log2(11)
        (5, {"ndcg@10": 4, "ndcg@20": 4}, "gains"),  # more than ranks from 5 on can gain
        (19, {"ndcg@20": 2}, "gains"),  # NDCG@20 < HR@20 / log2(21)
        (10, {"ndcg@20": 3.2}, "gains"),  # more than ranks from 10 on can gain
        (4, {"mrr": 1.9}, "MRR"),  # below the reciprocals of the worst ranks
        (9, {"mrr": 0.9}, "MRR"),
        (19, {"mrr": 0.4}, "MRR"),
        (100, {"mrr": 10 / 21 + 0.01}, "MRR"),  # above NDCG@20 + (n - HR@20) / 21
        (1, {"mrr": 10 / 1.5}, "MRR"),  # above NDCG@20
        (5, {"mrr": 10 / 6 + 0.1}, "MRR"),  # above what ranks from 5 on can have
    ],
)
def test_each_bound_is_refused(rank: int, changes: dict[str, float], why: str, suffix: str) -> None:
    spec = SumsSpec(RUN, ROUND, torch.zeros(10), 0)
    found = ten(rank)
    decoded(found, spec)
    for name, value in changes.items():
        found.metrics[0, METRICS.index(name + suffix)] = value
    message = wire.encode_evaluate_sums(replace(found, epsilon=3.0), RUN, ROUND)  # the two halves alone
    with pytest.raises(WireError, match=f"metrics: range: .*{why}"):
        wire.decode_evaluate_sums(message, spec)


def test_filtering_never_makes_a_rank_worse() -> None:
    spec = SumsSpec(RUN, ROUND, torch.zeros(10), 0)
    found, half = ten(30), len(METRICS) // 2
    found.metrics[0, half:] = ten(3).metrics[0, half:]
    message = wire.encode_evaluate_sums(found, RUN, ROUND)
    refused("metrics", "range", lambda: wire.decode_evaluate_sums(message, spec))
    decoded(replace(found, epsilon=3.0), spec)  # drawn apart


@pytest.mark.parametrize(
    ("name", "value"), [("er@5", 6.5), ("er@20", 2.0), ("er@20", 7.5), ("t_ndcg@5", 6.0), ("t_ndcg@20", 9.0)]
)
def test_exposure_is_that_of_ranks_too(name: str, value: float) -> None:
    found = sums()
    decoded(found, sums_spec())
    found.exposure[1, EXPOSURES.index(name)] = value
    message = wire.encode_evaluate_sums(found, RUN, ROUND)
    refused("exposure", "range", lambda: wire.decode_evaluate_sums(message, sums_spec()))


def test_a_reply_larger_than_its_one_shape() -> None:
    found = replace(sums(), eligible=torch.zeros(3, dtype=torch.int64))
    message = wire.encode_evaluate_sums(found, RUN, ROUND)
    refused("arrays", "oversize", lambda: wire.decode_evaluate_sums(message, sums_spec()))


def test_a_rank_that_counts_for_nothing() -> None:
    assert float(rank_values(torch.tensor([LAST]), torch.tensor([LAST])).sum()) < 1e-11
