"""The cap along the mean user direction, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.errors import ConfigError
from common.settings import component
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.aggregators.stages import interaction_size
from server.constraints import Evidence, build_constraints
from server.optimizers import ParameterUpdate
from tests.server.constraints.helpers import D, N, apply, evidence, model, step


def by_hand(
    at: GlobalModel, delta: ParameterUpdate, given: Evidence, push: np.ndarray, margin: float, pull: float
) -> tuple[np.ndarray, np.ndarray]:
    """(permitted rows, next push) with top .98, weak .1, decay .8."""
    updates = given.updates.rows.double().numpy()
    size = 0.1 * float(interaction_size(given.updates.rows.norm(dim=2)))
    total = np.zeros(D)
    for device in updates:
        for row in device:
            total += row if np.linalg.norm(row) < size else 0.0
    push = 0.8 * push + 0.2 * total
    user = -push / np.linalg.norm(push)
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
    return rows, push


@pytest.mark.parametrize(("margin", "pull"), [(0.01, 0.0), (0.3, 0.0), (0.01, 0.25)])
def test_a_loop_over_rounds_finds_the_same(margin: float, pull: float) -> None:
    chain = build_constraints([component("popularity_cap", margin=margin, pull=pull)])
    state, push, clipped = chain.init(model()), np.zeros(D), 0.0
    for seed in range(5):
        at, delta = model(seed), step(seed, 0.5)
        given = evidence(delta, torch.randint(0, 9, (N,), generator=torch.Generator().manual_seed(seed)))
        after, state, figures = chain(at, delta, state, given)
        rows, push = by_hand(at, delta, given, push, margin, pull)
        np.testing.assert_allclose(after.rows.double().numpy(), rows, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state["0/push"].numpy(), push, rtol=1e-5)
        clipped += figures["popularity_cap.clipped"]
    assert 0 < clipped < 5


def liked(strength: float) -> tuple[GlobalModel, ParameterUpdate, Evidence]:
    """Every user's state is (1, 0, 0, 0): negatives are pushed against it; row 1 is promoted along it."""
    at = model()
    items = torch.arange(1, N + 1, dtype=torch.int32)
    rows = torch.zeros(N, D)
    rows[0, 0] = strength
    pushed = torch.zeros(6, N, D)
    pushed[:, :, 0] = -0.01
    pushed[:, ::4, 0] = 1.0
    updates = DeviceUpdates(
        torch.zeros(6, 6), pushed, items, torch.ones(6, dtype=torch.int32), torch.arange(6)
    )
    return at, ParameterUpdate({}, rows, items), Evidence(updates, torch.arange(N, dtype=torch.float64))


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
    popular = Evidence(given.updates, -given.popularity)
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


def test_without_weak_updates_there_is_no_direction_and_no_cap() -> None:
    at, delta, given = liked(100.0)
    silent = DeviceUpdates(
        given.updates.encoder,
        torch.zeros_like(given.updates.rows),
        delta.items,
        given.updates.history,
        given.updates.device,
    )
    chain = build_constraints([component("popularity_cap")])
    after, _, figures = chain(at, delta, chain.init(at), Evidence(silent, given.popularity))
    assert torch.equal(after.rows, delta.rows)
    assert figures == {"popularity_cap.clipped": 0.0}


@pytest.mark.parametrize(
    "params", [{"top": 0.0}, {"top": 1.1}, {"margin": -0.1}, {"decay": 1.0}, {"pull": -0.1}]
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
