"""ClusterAttack: its k-means, the rows it sends, and how its number of clusters adapts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from attacks.cluster_attack import MEMORY, ClusterAttack, unit
from attacks.kmeans import kmeans
from common.seeding import generator
from tests.attacks.samples import played, view
from tests.client import samples


def test_kmeans_finds_clusters_that_lie_apart() -> None:
    g = generator(0, "points")
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    truth = torch.arange(3).repeat_interleave(20)
    points = centres[truth] + torch.randn(60, 2, generator=g)
    best = min(
        (kmeans(points, 3, generator(seed)) for seed in range(8)),
        key=lambda found: float((points - found[0][found[1]]).square().sum()),
    )
    centroids, cluster = best
    assert len({(int(a), int(b)) for a, b in zip(truth, cluster, strict=True)}) == 3
    torch.testing.assert_close(centroids[cluster[0]], points[:20].mean(0))


def test_kmeans_ends_where_nothing_moves() -> None:
    points = torch.randn(80, 4, generator=generator(1, "points"))
    centroids, cluster = kmeans(points, 5, generator(2))
    for own in range(5):
        torch.testing.assert_close(centroids[own], points[cluster == own].mean(0))
    nearest = np.array([[float((p - c).norm()) for c in centroids] for p in points]).argmin(axis=1)
    assert cluster.tolist() == nearest.tolist()
    again = kmeans(points, 5, generator(2))
    assert torch.equal(again[0], centroids)


@pytest.mark.parametrize("count", [1, 3])
def test_kmeans_of_equal_points(count: int) -> None:
    centroids, cluster = kmeans(torch.ones(6, 2), count, generator(0))
    assert torch.equal(centroids, torch.ones(count, 2))  # empty clusters keep their place
    assert cluster.tolist() == [0] * 6


@pytest.mark.parametrize("negatives", ["slice", "full", "device"])
def test_rows_go_to_their_centroid_at_the_length_of_honest_rows(negatives: str) -> None:
    task = samples.task(negatives=negatives, device_negatives=6)
    round_ = played("cluster_attack", task, clusters=3)
    honest, sent = round_.honest, round_.sent
    assert torch.equal(sent.encoder, honest.encoder)
    items = task.model.table[1:]
    centroids, cluster = kmeans(items, 3, generator(5, MEMORY, 3))
    own = honest.rows.flatten(1).any(dim=1)[:, None].expand(honest.rows.shape[:2])
    if honest.touched is not None:
        own = honest.touched
        assert not bool(sent.rows[~own].any())
    norms = honest.rows.norm(dim=2)[own].double()
    low, high = norms.mean(), norms.mean() + 3 * norms.std(correction=0)
    lengths = sent.rows.norm(dim=2)[own]
    assert float(lengths.min()) > low - 1e-5
    assert float(lengths.max()) < high + 1e-5
    assert float(lengths.std()) > 0.2 * float(high - low)  # drawn for each device and row
    for place, item in enumerate(sent.items.tolist()):
        towards = centroids[cluster[item - 1]] - items[item - 1]
        for device in range(len(sent)):
            row = sent.rows[device, place]
            if bool(row.any()):
                assert float(torch.cosine_similarity(row, towards, dim=0)) == pytest.approx(1, abs=1e-4)


def test_small_steps_along_the_rows_lower_the_loss() -> None:
    task = samples.task(negatives="full")
    sent = played("cluster_attack", task, clusters=3).sent
    items = task.model.table[1:]
    centroids, cluster = kmeans(items, 3, generator(5, MEMORY, 3))
    before = (items - centroids[cluster]).square().sum()
    after = (items + 0.01 * sent.rows.mean(0) - centroids[cluster]).square().sum()
    assert float(after) < float(before)


def adapted(losses: list[float], **params: float) -> list[int]:
    """The number of clusters after each round of L."""
    attack, memory = ClusterAttack(**params), RecordDict()  # type: ignore[arg-type]
    found = []
    for round_, loss in enumerate(losses):
        attack._adapt(memory, loss, round_)
        found.append(attack._count(memory, round_ + 1))
    return found


def test_more_clusters_when_the_loss_keeps_rising() -> None:
    found = adapted([float(i) for i in range(8)], clusters=10, most=50, patience=3)
    after = round(10 + 40**0.5)
    # The first round of a count has nothing to compare with: patience + 1 rounds to a change.
    assert found == [10, 10, 10, after, after, after, after, round(after + (50 - after) ** 0.5)]


def test_fewer_clusters_when_the_loss_keeps_falling() -> None:
    found = adapted([-float(i) for i in range(9)], clusters=10, most=50, patience=3)
    assert found == [10, 10, 10, 7, 7, 7, 7, round(7 - 6**0.5), 5]


def test_the_number_of_clusters_stays_within_its_limits() -> None:
    assert set(adapted([float(i) for i in range(60)], clusters=5, most=6, patience=1)) == {5, 6}
    assert min(adapted([-float(i) for i in range(60)], clusters=2, patience=1)) == 1


def test_a_loss_that_goes_up_and_down_changes_nothing() -> None:
    assert set(adapted([1.0, 3.0] * 30, clusters=4, patience=5, decay=0.0)) == {4}


def test_the_average_is_debiased() -> None:
    memory = RecordDict()
    for round_ in range(3):
        ClusterAttack()._adapt(memory, 7.0, round_)
        assert memory.config_records[MEMORY]["debiased"] == pytest.approx(7.0)


def test_the_memory_lasts_from_round_to_round() -> None:
    attack, task = ClusterAttack(clusters=9, patience=1), samples.task()
    first = view(task)
    honest = first.cohort.train()
    for round_ in (1, 2):
        attack.poison(honest, replace(first, task=replace(task, round=round_)))
    kept = dict(first.memory.config_records[MEMORY])
    assert kept["clusters"] == 9 - round(8**0.5) or kept["clusters"] == 9 + round(41**0.5)
    later = replace(view(task), memory=first.memory)
    attack.poison(later.cohort.train(), later)
    assert later.memory.config_records[MEMORY]["rounds"] == 1


def test_a_round_counts_once_however_many_slices_it_has() -> None:
    """All of them are of one model and one number of clusters."""
    attack, task = ClusterAttack(clusters=9, patience=1), samples.task()
    seen = view(task)
    honest = seen.cohort.train()
    sent, rounds = [], []
    for round_ in (1, 1, 1, 2, 2, 3):
        again = replace(seen, task=replace(task, round=round_), generator=generator(0, "attack"))
        sent.append(attack.poison(honest, again).rows)
        rounds.append(seen.memory.config_records[MEMORY]["rounds"])
    assert rounds == [1, 1, 1, 0, 0, 1]  # the second changes the number
    assert torch.equal(sent[3], sent[4])
    assert not torch.equal(sent[4], sent[5])


def test_more_clusters_than_half_the_items_are_not_made() -> None:
    sent = played("cluster_attack", samples.task(), clusters=50).sent
    moved = sent.rows.any(dim=2).sum(dim=1)
    assert int(moved.min()) > samples.ITEMS // 8


def test_a_row_on_its_centroid_stays() -> None:
    found = unit(torch.tensor([[0.0, 0.0], [3.0, 4.0], [1e-30, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.0, 0.0]]))
