"""The least diameter is really the least, and what happens when proving it takes too long."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RunError
from server.aggregators.mda import Mda
from server.aggregators.subsets import Exhausted, clique
from tests.server.aggregators import oracles_gram
from tests.server.aggregators.helpers import a_round, apply, flat, from_flat, make


def members(n: int, f: int, seed: int, **params: object) -> tuple[tuple[int, ...], float]:
    """Who was averaged, and the diameter that the audit says."""
    result = apply("mda", make(n, seed), f, **params)
    assert result.weights is not None
    return tuple(result.weights.nonzero().flatten().tolist()), result.figures["mda.diameter"]


@given(n=st.integers(1, 11), data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_no_subset_has_a_smaller_diameter(n: int, data: st.DataObject, seed: int) -> None:
    f = data.draw(st.integers(0, (n - 1) // 2))
    u = flat(make(n, seed)).numpy()
    least, all_of_it = oracles_gram.least_diameter(u, n - f)
    for search in ("auto", "exact"):
        ours, said = members(n, f, seed, search=search)
        assert ours in all_of_it
        assert said == pytest.approx(least, rel=1e-6)
    ball, width = members(n, f, seed, search="greedy")
    assert len(ball) == n - f
    assert least * (1 - 1e-6) <= width <= 2 * least * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_updates_of_like_size_leave_much_to_search(seed: int) -> None:
    """All distances are close together here, so the ball is rarely the best there is."""
    values = torch.nn.functional.normalize(flat(make(15, seed)), dim=1).float()
    least, subsets = oracles_gram.least_diameter(values.double().numpy(), 9)
    result = apply("mda", from_flat(values, make(15)), 6, search="exact")
    assert result.weights is not None
    assert result.figures["mda.diameter"] == pytest.approx(least, rel=1e-6)
    assert tuple(result.weights.nonzero().flatten().tolist()) in subsets


def test_out_of_branches_the_ball_stands_and_the_audit_says_so() -> None:
    gains = {s: members(11, 4, s, search="greedy")[1] / members(11, 4, s)[1] for s in range(30)}
    seed = next(s for s, gain in gains.items() if gain > 1.01)
    result = apply("mda", make(11, seed), 4, branches=1)
    assert result.figures["mda.exact"] == 0
    assert members(11, 4, seed, branches=1) == members(11, 4, seed, search="greedy")
    with pytest.raises(RunError, match="leaving out 4 of 11 devices takes more than 1 branches; raise"):
        apply("mda", make(11, seed), 4, search="exact", branches=1)
    assert apply("mda", make(11, seed), 4).figures["mda.exact"] == 1


@pytest.mark.parametrize("f", [26, 51])
def test_a_usual_round_is_proved(f: int) -> None:
    values = torch.nn.functional.normalize(torch.randn(128, 200, generator=torch.Generator().manual_seed(f)))
    products = values.double() @ values.double().T
    assert Mda().weigh(products, {}, a_round(128, f)).figures["mda.exact"] == 1


def test_ties_go_to_the_updates_near_all_the_others() -> None:
    values = torch.zeros(5, flat(make(1)).shape[1])
    values[:, 0] = torch.tensor([9.0, 0.0, 1.0, 2.0, -7.0])
    updates = from_flat(values, make(5))
    weights = apply("mda", updates, 2).weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])
    values[:, 0] = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])  # three subsets have diameter 2
    weights = apply("mda", from_flat(values, make(5)), 2).weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])


@given(n=st.integers(1, 9), share=st.floats(0.1, 0.95), seed=st.integers(0, 999), data=st.data())
@settings(max_examples=150)
def test_a_clique_is_found_where_there_is_one(n: int, share: float, seed: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, n))
    pairs = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)).triu(1) < share
    allowed = (pairs & torch.ones(n, n).triu(1).bool()) | (pairs & torch.ones(n, n).triu(1).bool()).T

    def free(s: tuple[int, ...]) -> bool:
        return all(bool(allowed[i, j]) for i, j in combinations(s, 2))

    found = clique(allowed, size, 10_000)
    if found is None:
        assert not any(free(s) for s in combinations(range(n), size))
    else:
        assert len(set(found)) == size
        assert free(tuple(found))


def test_the_search_stops_at_its_limit_and_a_lone_pair_takes_no_branch() -> None:
    triangles = torch.ones(9, 9, dtype=torch.bool)
    for k in (0, 3, 6):
        triangles[k : k + 3, k : k + 3] = False
    assert clique(triangles, 4, 10_000) is None
    assert clique(triangles, 3, 10_000) == [0, 3, 6]
    with pytest.raises(Exhausted):
        clique(triangles, 4, 3)
    # who opposes most devices stays, and all four of its opponents go: nothing else does
    sides = torch.ones(7, 7, dtype=torch.bool)
    sides[:4, 4:] = sides[4:, :4] = False
    for i, j in ((0, 1), (2, 3)):
        sides[i, j] = sides[j, i] = False
    assert clique(sides, 3, 10_000) == [4, 5, 6]
    pairs = torch.ones(8, 8, dtype=torch.bool)
    for k in (0, 2, 4, 6):
        pairs[k, k + 1] = pairs[k + 1, k] = False
    assert clique(pairs, 4, 5) == [0, 2, 4, 6]  # four removals and the look at what is left
