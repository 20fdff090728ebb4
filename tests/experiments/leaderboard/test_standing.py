"""Figures and places against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from experiments.leaderboard.standing import Places, Point, Standing, ranked, standing
from experiments.report.names import Condition
from experiments.report.reading import Cell
from experiments.report.section import Section
from experiments.report.statistics import Estimate, estimate

SCOPE = ("log", "sasrec", "20 %")
ATTACKS = ("control", "parity", "label_to_target", "ipm")
NDCG = {  # (rule, attack) -> by seed
    ("mean", "control"): (0.1, 0.2, 0.1),
    ("mean", "parity"): (0.1, 0.2, 0.1),
    ("mean", "label_to_target"): (0.09, 0.16, 0.09),
    ("mean", "ipm"): (0.01, 0.02, 0.01),
    ("krum", "control"): (0.08, 0.18, 0.1),
    ("krum", "parity"): (0.08, 0.18, 0.1),
    ("krum", "label_to_target"): (0.07, 0.16, 0.06),
    ("krum", "ipm"): (0.08, 0.16, 0.09),
}
ER = {"control": 0.0, "parity": 0.1, "label_to_target": 0.4, "ipm": 0.0}


def section(left_out: Sequence[tuple[str, str, int]] = ()) -> Section:
    runs: dict[tuple[str, Condition], dict[int, Cell]] = {}
    for (rule, attack), values in NDCG.items():
        for seed, ndcg in enumerate(values):
            if (rule, attack, seed) in left_out:
                continue
            labels = {"cell": "c", "data": "log", "model": "sasrec", "aggregator": rule, "rule": rule}
            labels |= {"attack": attack, "seed": str(seed), "status": "done", "targets": "3"}
            numbers = {"test.ndcg@10": ndcg, "er@10": ER[attack] + 0.01 * seed, "server_seconds": 0.004}
            runs.setdefault((rule, Condition(attack, 0.2)), {})[seed] = Cell(labels, numbers)
    return Section("log", "sasrec", "", runs, {})


def made(rule: str, of: Section | None) -> Standing:
    points = [Point(attack, Condition(attack, 0.2), of) for attack in ATTACKS]
    return standing(rule, SCOPE, points, (0, 1, 2), 12, 12)


def assert_worst(found: Standing, values: Sequence[float], attack: str) -> None:
    expected = estimate(dict(enumerate(values)))
    assert found.worst is not None
    assert expected is not None
    assert (found.worst[0].mean, found.worst[0].half) == pytest.approx((expected.mean, expected.half))
    assert (found.worst[0].n, found.worst[1]) == (expected.n, attack)


def test_the_worst_the_mean_the_cost_and_the_time() -> None:
    found = made("krum", section())
    assert found.seeds == 3
    assert_worst(found, [0.7, 0.8, 0.6], "label_to_target")
    assert found.mean is not None
    assert found.mean.mean == pytest.approx((0.7 + 0.8 + 0.6 + 0.8 + 0.8 + 0.9) / 6)
    assert found.exposed is not None
    assert found.exposed[1] == "label_to_target"
    assert found.exposed[0].mean == pytest.approx(0.3)
    assert found.lost is not None
    assert found.lost.mean == pytest.approx(1 - (0.8 + 0.9 + 1) / 3)
    assert found.clean is not None
    assert found.clean.mean == pytest.approx(0.12)
    assert found.server_ms is not None
    assert found.server_ms.mean == pytest.approx(4)
    plain = made("mean", section())
    assert plain.lost == Estimate(0, 0, 3)
    assert plain.worst is not None
    assert plain.worst[1] == "ipm"


def test_a_seed_with_an_open_cell_does_not_count_beside_whole_ones() -> None:
    found = made("krum", section([("krum", "ipm", 1)]))
    assert found.seeds == 2
    assert_worst(found, [0.7, 0.6], "label_to_target")
    for left_out in (("krum", "parity", 1), ("mean", "control", 1), ("krum", "control", 1)):
        assert made("krum", section([left_out])).seeds == 2


def test_without_a_whole_seed_figures_are_so_far_and_without_a_place() -> None:
    found = made("krum", section([("krum", "ipm", seed) for seed in (0, 1, 2)]))
    assert found.seeds == 0
    assert_worst(found, [0.7, 0.8, 0.6], "label_to_target")
    (one,) = ranked([found])
    assert (one.places, one.exposure_places) == (None, None)
    nothing = made("krum", None)
    assert (nothing.seeds, nothing.worst, nothing.mean, nothing.lost) == (0, None, None, None)


def ruled(values: Mapping[str, tuple[float, float, int]]) -> list[Standing]:
    """Rules that keep mean ± half over so many whole seeds."""
    return [
        Standing(
            rule,
            SCOPE,
            seeds,
            8,
            8,
            *((Estimate(mean, half, seeds), "ipm"), None, None, None, None, None, None),
        )
        for rule, (mean, half, seeds) in values.items()
    ]


def test_places_are_shared_where_intervals_overlap() -> None:
    found = ranked(
        ruled(
            {
                "last": (0.1, 0.05, 3),
                "two seeds": (0.99, 0.0, 2),
                "a": (0.90, 0.02, 3),
                "b": (0.87, 0.02, 3),
                "c": (0.84, 0.02, 3),
                "wide": (0.5, 0.9, 3),
            }
        )
    )
    places = {one.rule: one.places for one in found}
    assert places == {
        "a": Places(1, 3),  # b and wide overlap
        "b": Places(1, 4),
        "wide": Places(1, 5),
        "c": Places(2, 4),  # a is certainly better
        "last": Places(4, 5),
        "two seeds": None,
    }
    assert [one.rule for one in found] == ["a", "b", "wide", "c", "last", "two seeds"]
