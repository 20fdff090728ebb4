"""Full ranking against a slow and obvious implementation."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import client.ranking
import client.tiles
from client.ranking import answer_ranks, counts, evaluate, last_hidden, score
from client.tiles import Pairs, Tiles, ranks
from common.data.ragged import Index, Ragged
from common.data.types import Items
from common.metrics import add, means
from common.models import build_model
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums, GlobalModel
from tests.client.oracle import hidden_of
from tests.client.samples import ITEMS, MAX_LEN, histories, history, model_config, parameters

QUARTILES = (2, 9, 11)


def of(table: Tensor) -> GlobalModel:
    """A model of this table [N + 1, d]."""
    return GlobalModel(torch.zeros(1), table)


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
        values = slow_values(slow_rank(row, answer, {0} if answer in seen else seen | {0})) | {
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


def as_model(values: Tensor, patch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """Hidden states [n, 1] and a table [N + 1, 1] whose product is looked up in ``values`` [n, N + 1]."""

    def looked_up(hidden: Tensor, rows: Tensor) -> Tensor:
        return values[hidden[:, 0].long()][:, rows[:, 0].long()]

    patch.setattr(client.tiles, "product", looked_up)
    n, size = values.shape
    return torch.arange(n).float()[:, None], torch.arange(size).float()[:, None]


def cut_small(monkeypatch: pytest.MonkeyPatch, users: int, width: int) -> None:
    """Blocks of at most ``users`` x ``width`` scores, whatever the catalogue."""

    def cut(model: GlobalModel) -> Tiles:
        size = model.num_items + 1
        return Tiles(users, min(width, size), size)

    monkeypatch.setattr(Tiles, "of", staticmethod(cut))


@pytest.fixture(params=[(512, 2048), (7, 5), (1, 1), (40, 4)], ids=str)
def fixed_scores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Scores with many ties, NaN and infinities, in place of a model's: a row a device; cut in four ways."""
    g = torch.Generator().manual_seed(2)
    values = torch.randint(-4, 5, (40, ITEMS + 1), generator=g).float()
    values[0, 5], values[1, 6], values[2, 7] = float("nan"), float("inf"), -float("inf")
    values[3] = float("nan")
    values[4] = 0.0
    hidden, table = as_model(values, monkeypatch)
    monkeypatch.setattr(client.ranking, "last_hidden", lambda *args: hidden)
    monkeypatch.setattr(sys.modules[__name__], "parameters", lambda config: of(table))
    cut_small(monkeypatch, *request.param)
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


def test_within_a_group_are_the_devices_that_hold_its_item(fixed_scores: Tensor) -> None:
    """The exposure to all, then what a node with the group alone would tell."""
    sequences, answers = devices(40)
    answers[:4] = [5, 6, 7, 8]
    targets, config = (3, 7, 12), model_config()
    asked = (build_model(config), parameters(config), sequences, answers, targets, QUARTILES, MAX_LEN)
    for group in (7, 9):  # one that is a target: who holds it counts for the others alone
        found = evaluate(*asked, group=group)
        members = [u for u in range(40) if group in sequences[u]]
        assert 0 < len(members) < 40
        everyone = slow(fixed_scores, sequences, answers, targets)
        within = slow(
            fixed_scores[members], [sequences[u] for u in members], [answers[u] for u in members], targets
        )
        torch.testing.assert_close(found.exposure, torch.cat([everyone.exposure, within.exposure]))
        assert torch.equal(found.eligible, torch.cat([everyone.eligible, within.eligible]))
        assert torch.equal(counts(sequences, answers, targets, QUARTILES, group).eligible, found.eligible)
        assert torch.equal(found.metrics, run(sequences, answers, targets).metrics)


def rank(scores: Tensor, target: Tensor, excluded: Tensor) -> Tensor:
    """The dense way: scores [n, N + 1] and a mask of the same shape, item by item."""
    own = scores.gather(1, target[:, None])  # [n, 1]
    number = torch.arange(scores.shape[1])
    ahead = (scores > own) | ((scores == own) & (number < target[:, None]))  # [n, N + 1]
    found = (ahead & ~excluded).sum(1)
    return torch.where(torch.isfinite(own.squeeze(1)), found, scores.shape[1])


def dense(scores: Tensor, histories_: Sequence[Items], wanted: Index) -> Tensor:
    """What :func:`ranks` gives, by :func:`rank`."""
    padding = torch.zeros(scores.shape, dtype=torch.bool)
    padding[:, 0] = True
    seen = padding.clone()
    for row, items in enumerate(histories_):
        seen[row, torch.from_numpy(items.astype(np.int64))] = True
    columns = torch.from_numpy(wanted).unbind(1)
    return torch.stack(
        [torch.stack([rank(scores, one, mask) for one in columns], 1) for mask in (seen, padding)]
    )


@pytest.mark.parametrize("size", [900, 5000, 9000, 12289])
@pytest.mark.parametrize("twins", [False, True])
def test_tiles_rank_as_one_dense_matrix_does(size: int, twins: bool) -> None:
    """Real numbers, so that a score of another sum would show; twin rows, so that a tie would be lost."""
    g = torch.Generator().manual_seed(size)
    n, table = 700, torch.randn(size, 16, generator=g)
    if twins:
        table[1 : size // 2] = table[size - size // 2 + 1 :]
    hidden = torch.randn(n, 16, generator=g)
    lengths = np.arange(n) % 23
    seen = Ragged.split(torch.randint(1, size, (int(lengths.sum()),), generator=g).int().numpy(), lengths)
    wanted = torch.randint(1, size, (n, 3), generator=g).numpy()
    wanted[:, 2] = 5  # a target is the same for all
    found = ranks(hidden, of(table), Pairs.of(seen, Tiles.of(of(table))), wanted)
    expected = torch.cat(
        [
            dense(hidden[i : i + 100] @ table.T, seen[i : i + 100], wanted[i : i + 100])
            for i in range(0, n, 100)
        ],
        dim=1,
    )
    assert torch.equal(found, expected)


def test_scores_that_are_held_at_once_are_bounded() -> None:
    for size in (2, 100, 4 * client.tiles.ITEMS, 4 * client.tiles.ITEMS + 1, 10**6):
        tiles = Tiles.of(of(torch.empty(size, 0)))
        assert tiles.users * tiles.width * 4 <= 64 * 2**20
        assert tiles.starts[-1] == size
    card = Tiles.of(of(torch.empty(10**6, 0, device="meta")))
    assert card.users * card.width * 4 == 64 * 2**20


def test_parts_of_the_devices_give_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences, answers = devices(40)
    whole = run(sequences, answers, (3, 7))
    ranked = answer_ranks(
        build_model(model_config()), parameters(model_config()), sequences, answers, MAX_LEN
    )
    monkeypatch.setattr(client.ranking, "DEVICES", 7)
    monkeypatch.setattr(client.ranking, "POSITIONS", 20)
    equal(run(sequences, answers, (3, 7)), whole)
    again = answer_ranks(build_model(model_config()), parameters(model_config()), sequences, answers, MAX_LEN)
    assert torch.equal(again, ranked)
    assert ranked.shape == (2, 40)


def test_counts_need_no_model() -> None:
    sequences, answers = devices(40)
    whole, alone = run(sequences, answers, (7, 3)), counts(sequences, answers, (7, 3), QUARTILES)
    assert torch.equal(alone.count, whole.count)
    assert torch.equal(alone.eligible, whole.eligible)
    assert not bool(alone.metrics.any())


def test_a_long_evaluation_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client.ranking, "DEVICES", 10)
    sequences, answers = devices(40)
    with caplog.at_level("INFO", logger="client.ranking"):
        run(sequences, answers, ())
        assert not caplog.records
        monkeypatch.setattr(client.ranking, "NEWS_S", -1.0)
        run(sequences, answers, ())
    assert [record.fields["done"] for record in caplog.records] == [10, 20, 30]  # type: ignore[attr-defined]
    assert caplog.messages[0].startswith("ranked for 10 of 40 devices, about ")


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
    item = data.draw(st.integers(1, len(values) - 1))
    excluded = data.draw(st.sets(st.integers(1, len(values) - 1)))
    tiles = Tiles(1, data.draw(st.integers(1, len(values))), len(values))
    with pytest.MonkeyPatch.context() as patch:
        hidden, table = as_model(torch.tensor([values]), patch)
        cut_small(patch, tiles.users, tiles.width)
        seen = Pairs.of(Ragged.of([np.array(sorted(excluded))], np.int32), tiles)
        found = ranks(hidden, of(table), seen, np.array([[item]]))
    assert found.flatten().tolist() == [slow_rank(values, item, excluded | {0}), slow_rank(values, item, {0})]
    assert found.dtype == torch.int64


def test_ties_go_to_the_lower_number_so_a_constant_model_gains_nothing() -> None:
    for size in (6, 9000):
        table = torch.zeros(size, 4)
        none = Pairs.of(Ragged.of([np.array([])] * 5, np.int32), Tiles.of(of(table)))
        found = ranks(torch.ones(5, 4), of(table), none, np.arange(1, 6)[:, None])
        assert found.tolist() == [[[0], [1], [2], [3], [4]]] * 2


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


def test_an_answer_that_recurs_competes_with_all_items() -> None:
    found = figures(one([0.0, 7.0, 9.0, 8.0, 6.0], [1, 2], 1))
    assert found["mrr"] == found["mrr_unfiltered"] == pytest.approx(1 / 3)  # behind 2, seen too, and 3
    assert figures(one([0.0, 7.0, 9.0, 8.0, 6.0], [2], 1))["mrr"] == pytest.approx(1 / 2)  # 2 is filtered


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


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_a_short_history_runs_on_its_bucket_and_ends_in_the_same_state(name: str) -> None:
    config = model_config(name=name, max_len=40)
    model, start = build_model(config).eval(), parameters(config)
    sequences = [history(n, seed=n) for n in range(40)]
    found = last_hidden(model, start, Ragged.of(sequences, np.int32), 40)
    for row, items in zip(found, sequences, strict=True):
        ids = torch.from_numpy(np.concatenate([np.zeros(40 - len(items)), items])).long()
        alone = hidden_of(model, start.encoder, start.table[ids], ids == 0)[-1]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-5)


def test_everything_is_on_the_device_of_the_table() -> None:
    """On the meta device, where a tensor of the host among the others is an error, and a look at one, too."""
    config = model_config()
    model = build_model(config).to("meta")
    start = parameters(config)
    there = GlobalModel(start.encoder.to("meta"), start.table.to("meta"))
    sequences = Ragged.of(histories(), np.int32)
    hidden = last_hidden(model, there, sequences, MAX_LEN)
    assert hidden.device.type == "meta"
    wanted = np.ones((len(sequences), 2), dtype=np.int64)
    found = ranks(hidden, there, Pairs.of(sequences, Tiles.of(there)), wanted)
    assert (found.device.type, found.shape) == ("meta", (2, len(sequences), 2))
