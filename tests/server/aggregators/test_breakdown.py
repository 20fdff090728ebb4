"""How far attackers move a rule: not beyond the honest spread up to its bound, anywhere beyond it."""

from __future__ import annotations

import pytest
import torch

from server.aggregators import AGGREGATORS
from tests.server.aggregators.helpers import apply, attacked, flat, flat_of

ROBUST = [
    ("median", {}),
    ("krum", {}),
    ("krum", {"select": 3}),
    ("krum", {"neighbours": "byzfl"}),
    ("geometric_median", {}),
    ("multi_krum", {}),
    ("mda", {}),
    ("mda", {"search": "greedy"}),
    ("caf", {}),
    ("dnc", {}),
    ("centred_clipping", {}),
    ("norm_clip", {}),
    ("flame", {}),
    ("signguard", {}),
    ("lasa", {}),
    ("sieve", {}),
]
FRAGILE = ("mean", "rlr", "fldetector", "foolsgold", "hics", "mixed_rfa")
"""Rules whose breakdown point is 0 by their own docstring: one far attacker moves them anywhere."""
ELSEWHERE = {
    "trimmed_mean": "test_value_rules.py",
    "meamed": "test_value_rules.py",
    "phocas": "test_value_rules.py",
    "bulyan": "test_value_rules.py",
    "fltrust": "test_fltrust.py: what bounds it is the root",
    "union": "test_union.py: what it looks at is how far rows lie apart",
}
HONEST = 12


def displacement(
    name: str, malicious: int, distance: float, params: dict[str, object]
) -> tuple[float, float]:
    """Distance of the aggregate from the honest mean, and the honest radius around it."""
    updates = attacked(HONEST, malicious, distance)
    f = min(malicious, (len(updates) - 3) // 2)
    honest = flat(updates)[:HONEST]
    centre = honest.mean(dim=0)
    radius = float((honest - centre).norm(dim=1).max())
    return float((flat_of(apply(name, updates, f, **params)) - centre).norm()), radius


@pytest.mark.parametrize(("name", "params"), ROBUST)
@pytest.mark.parametrize("distance", [20.0, 1e4, 1e12])
@pytest.mark.parametrize("malicious", [1, 5])
def test_far_attackers_below_the_bound(
    name: str, params: dict[str, object], distance: float, malicious: int
) -> None:
    moved, radius = displacement(name, malicious, distance, params)
    assert moved <= radius


@pytest.mark.parametrize(("name", "params"), ROBUST)
def test_a_majority_takes_over(name: str, params: dict[str, object]) -> None:
    moved, _ = displacement(name, HONEST + 4, 1e4, params)
    assert moved > 1e3


@pytest.mark.parametrize("name", FRAGILE)
def test_one_attacker_owns_a_rule_without_a_bound(name: str) -> None:
    moved, radius = displacement(name, 1, 1e6, {})
    assert moved > 1000 * radius
    assert "reakdown point 0" in (AGGREGATORS[name].__doc__ or "")


def test_every_rule_is_tried_beyond_its_bound() -> None:
    assert {name for name, _ in ROBUST} | {*FRAGILE, *ELSEWHERE} == set(AGGREGATORS)


@pytest.mark.parametrize("distance", [1e2, 1e6, 1e12])
def test_clipping_bounds_the_shift_by_the_share_of_attackers(distance: float) -> None:
    updates = attacked(HONEST, 3, distance)
    result = apply("norm_clip", updates)
    assert result.weights is not None
    honest_part = result.weights[:HONEST].double() @ flat(updates)[:HONEST]
    bound = result.figures["norm_clip.bound"]
    shift = float((flat_of(result) - honest_part).norm())
    assert shift <= 3 / 15 * bound * (1 + 1e-5)
    assert bound <= float(flat(updates)[:HONEST].norm(dim=1).max())


def test_far_attackers_get_next_to_no_weight_in_the_geometric_median() -> None:
    weights = apply("geometric_median", attacked(HONEST, 5, 1e6)).weights
    assert weights is not None
    assert float(weights[HONEST:].sum()) < 1e-4
    assert torch.all(weights[:HONEST] > 0)
