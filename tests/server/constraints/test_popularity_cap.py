"""The cap along the mean user direction, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import ConfigError
from common.probes import Audience
from common.settings import component
from common.tasks import GlobalModel
from server.constraints import Evidence, build_constraints
from server.optimizers import ParameterUpdate
from tests.server.constraints.helpers import D, N, apply, evidence, model, step, users


def by_hand(
    at: GlobalModel, delta: ParameterUpdate, given: Evidence, margin: float, pull: float
) -> np.ndarray:
    """Permitted rows with top .98 and 32 probes."""
    user = given.users(delta, 32, 0.0).states.double().numpy().mean(0)
    user /= np.linalg.norm(user)
    table = at.table.double().numpy().copy()
    items = [int(i) for i in delta.items]
    old = [float(table[i] @ user) for i in items]
    table[items] += delta.rows.double().numpy()
    level = table[1:] @ user
    popularity = given.popularity.numpy()
    rows = delta.rows.double().numpy().copy()
    for place, i in enumerate(items):
        rank = np.mean([other <= popularity[i - 1] for other in popularity])
        cap = np.quantile(level, min(rank + margin, 0.98))
        held = old[place] - pull * (old[place] - cap) if old[place] > cap else cap
        rows[place] -= max(0.0, level[i - 1] - held) * user
    return rows


@pytest.mark.parametrize(("margin", "pull"), [(0.01, 0.0), (0.3, 0.0), (0.01, 0.25)])
def test_a_loop_over_items_finds_the_same(margin: float, pull: float) -> None:
    chain = build_constraints([component("popularity_cap", margin=margin, pull=pull, probes=32)])
    clipped = 0.0
    for seed in range(5):
        at, delta = model(seed), step(seed, 0.5)
        drawn = torch.randint(0, 9, (N,), generator=torch.Generator().manual_seed(seed))
        given = evidence(drawn, seed)
        after, _, figures = chain(at, delta, chain.init(at), given)
        rows = by_hand(at, delta, given, margin, pull)
        np.testing.assert_allclose(after.rows.double().numpy(), rows, rtol=1e-4, atol=1e-5)
        clipped += figures["popularity_cap.clipped"]
    assert 0 < clipped < 5


def liked(strength: float) -> tuple[GlobalModel, ParameterUpdate, Evidence]:
    """Every user's state is (1, 0, 0, 0); row 1 is promoted along it."""
    at = model()
    rows = torch.zeros(N, D)
    rows[0, 0] = strength
    delta = ParameterUpdate({}, rows, torch.arange(1, N + 1, dtype=torch.int32))
    given = replace(evidence(), users=lambda after, count, taste: users(torch.eye(D)[0].expand(count, D)))
    return at, delta, given


def test_a_cold_item_cannot_be_pushed_up_for_everyone() -> None:
    at, delta, given = liked(100.0)
    at.table[1] = 0.0
    chain = build_constraints([component("popularity_cap", margin=0.1, pull=0.0)])
    after, _, _ = chain(at, delta, chain.init(at), given)
    level = at.table[1:, 0].clone()
    level[0] += delta.rows[0, 0]
    place = 1 / N + 0.1
    assert float(after.rows[0, 0]) == pytest.approx(
        max(0.0, float(torch.quantile(level.double(), place))), abs=1e-5
    )
    assert torch.equal(after.rows[1:], delta.rows[1:])


def test_the_same_push_passes_for_a_popular_item_and_downwards() -> None:
    at, delta, given = liked(0.2)
    at.table[1] = 0.0
    popular = replace(given, popularity=-given.popularity)
    chain = build_constraints([component("popularity_cap", margin=0.1, pull=0.0)])
    assert torch.equal(chain(at, delta, chain.init(at), popular)[0].rows, delta.rows)
    down = ParameterUpdate({}, -delta.rows, delta.items)
    assert torch.equal(chain(at, down, chain.init(at), given)[0].rows, down.rows)


def test_moves_across_the_direction_are_free() -> None:
    at, delta, given = liked(0.0)
    delta.rows[:, 1] = 50.0
    chain = build_constraints([component("popularity_cap", margin=0.0, pull=0.0)])
    after, _, figures = chain(at, delta, chain.init(at), given)
    torch.testing.assert_close(after.rows, delta.rows)
    assert figures["popularity_cap.clipped"] == 0.0


def test_users_without_a_common_direction_set_no_cap() -> None:
    at, delta, given = liked(100.0)
    both = torch.cat([torch.eye(D), -torch.eye(D)])
    torn = replace(given, users=lambda after, count, taste: users(both))
    after, figures = apply_on(at, delta, torn)
    assert torch.equal(after.rows, delta.rows)
    assert figures == {"popularity_cap.clipped": 0.0}


def test_it_asks_for_the_users_after_the_step() -> None:
    at, delta, given = liked(100.0)
    at.table[1] = 0.0
    seen = []

    def asked(after: ParameterUpdate, count: int, taste: float) -> Audience:
        seen.append((after, count, taste))
        return users(torch.eye(D)[1].expand(count, D))

    after, _ = apply_on(at, delta, replace(given, users=asked))
    assert [(one is delta, *rest) for one, *rest in seen] == [(True, 256, 0.0)]
    assert torch.equal(after.rows[0], delta.rows[0])  # it goes along axis 0, the users look along axis 1


def apply_on(
    at: GlobalModel, delta: ParameterUpdate, given: Evidence
) -> tuple[ParameterUpdate, dict[str, float]]:
    chain = build_constraints([component("popularity_cap", pull=0.0)])
    after, _, figures = chain(at, delta, chain.init(at), given)
    return after, figures


@pytest.mark.parametrize(
    "params", [{"top": 0.0}, {"top": 1.1}, {"margin": -0.1}, {"margin": 1.0}, {"probes": 0}, {"pull": -0.1}]
)
def test_invalid_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="popularity_cap"):
        apply("popularity_cap", step(), **params)


def test_a_row_above_its_cap_comes_down_though_nobody_moves_it() -> None:
    at, delta, given = liked(0.0)
    at.table[1] = torch.tensor([50.0, 3.0, 0.0, 0.0])
    chain = build_constraints([component("popularity_cap", margin=0.0, pull=0.25)])
    after, _, _ = chain(at, delta, chain.init(at), given)
    cap = float(torch.quantile(at.table[1:, 0].double(), 1 / N))
    assert float(after.rows[0, 0]) == pytest.approx(-0.25 * (50.0 - cap), rel=1e-5)
    assert float(after.rows[0, 1]) == 0.0
