"""``negatives: device`` at the sparsity of Amazon Beauty: every rule on the union slice and its mask."""

from __future__ import annotations

import pytest
import torch

from common.updates import DeviceUpdates
from server.aggregators import AGGREGATORS
from tests.server.aggregators.helpers import apply
from tests.server.aggregators.oracles_registry import HELD, ORACLES, PARAMETERS, difference
from tests.server.aggregators.oracles_values import COORDINATE
from tests.server.aggregators.sparse import classic_round, like_beauty

F = 3
EVERY = pytest.mark.parametrize("name", sorted(COORDINATE))


@pytest.fixture(scope="module")
def updates() -> DeviceUpdates:
    return classic_round(like_beauty(), 1500, 12)


def holders(updates: DeviceUpdates) -> torch.Tensor:
    assert updates.touched is not None
    return updates.touched.sum(dim=0)


def test_the_round_is_as_sparse_as_beauty(updates: DeviceUpdates) -> None:
    held = holders(updates)
    assert int(held.min()) >= 1, "the slice is the union of what devices hold"
    assert float((held <= 2).float().mean()) > 0.97
    assert int(held.max()) < len(updates) / 2
    assert updates.touched is not None
    assert updates.rows[~updates.touched].abs().max() == 0
    assert (updates.rows[updates.touched].abs().amax(dim=1) > 0).all()


def test_every_rule_has_an_oracle() -> None:
    assert set(ORACLES) == set(AGGREGATORS)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_every_rule_is_its_oracle_on_the_union(name: str, updates: DeviceUpdates) -> None:
    result = apply(name, updates, F, **PARAMETERS.get(name, {}))
    assert difference(name, updates, F, result) < 2e-5


@pytest.mark.parametrize("name", HELD)
def test_the_holders_of_a_row_settle_it(name: str, updates: DeviceUpdates) -> None:
    ours = apply(name, updates, F, electorate="touched")
    assert difference(name, updates, F, ours, "touched") < 2e-5
    assert difference(name, updates, F, ours) > 1e-3, "with all for voters it is another one"


@EVERY
def test_all_freezes_the_table_and_touched_does_not(name: str, updates: DeviceUpdates) -> None:
    """The zeros of those that do not hold a row outvote its holders; rlr turns their push round instead."""
    by_all = apply(name, updates, F).rows
    by_holders = apply(name, updates, F, electorate="touched").rows
    few = holders(updates) <= F
    mean = updates.rows.mean(dim=0)
    if name == "rlr":
        torch.testing.assert_close(by_all[few], -mean[few])
    else:
        assert by_all[few].abs().max() == 0
    assert float((by_holders == 0).all(dim=1).float().mean()) < 0.01


def test_the_touched_median_of_a_lone_holder_is_what_it_sent(updates: DeviceUpdates) -> None:
    alone = holders(updates) == 1
    ours = apply("median", updates, F, electorate="touched").rows
    torch.testing.assert_close(ours[alone], updates.rows.sum(dim=0)[alone])


def test_bulyan_counts_the_picked_holders_of_a_row(updates: DeviceUpdates) -> None:
    by_all = apply("bulyan", updates, F)
    by_holders = apply("bulyan", updates, F, electorate="touched")
    assert torch.equal(by_all.encoder, by_holders.encoder)
    frozen = [float((r.rows == 0).all(dim=1).float().mean()) for r in (by_all, by_holders)]
    assert frozen[0] > 0.97 > frozen[1]
