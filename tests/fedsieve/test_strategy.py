"""``fedsieve.RobustStrategy`` in a ServerApp of one's own."""

from __future__ import annotations

import pytest
import torch

import fedsieve
from emulation.local_grid import LocalGrid
from server import strategy
from tests.fedsieve.samples import SMALL
from tests.server.federation import Watch, client_app, node

SETTINGS = {k: v for k, v in SMALL.items() if not k.startswith(("data.", "strategy.optimizer", "attack."))}


def made(**more: object) -> fedsieve.RobustStrategy:
    watch = Watch()
    found = fedsieve.RobustStrategy(
        num_items=30,
        aggregator=fedsieve.aggregators.Sieve(rows=2.0),
        optimizer=fedsieve.optimizers.Adam(),
        constraints=[fedsieve.constraints.RowNormCap()],
        rounds=2,
        devices=16,
        listeners=[watch],
        settings=SETTINGS,
        **{"strategy.secret": "a", **more},
    )
    found.watch = watch  # type: ignore[attr-defined]
    return found


def test_objects_become_the_strategy() -> None:
    found = made()
    assert isinstance(found, strategy.RobustStrategy)
    assert found.pipeline.aggregator == fedsieve.aggregators.Sieve(rows=2.0)
    assert found.pipeline.optimizer == fedsieve.optimizers.Adam()
    assert found.pipeline.constraints.parts == (fedsieve.constraints.RowNormCap(),)
    assert (found.config.train.rounds, found.num_items) == (2, 30)


def test_it_runs_over_a_grid_as_the_strategy_it_is() -> None:
    found = made()
    result = found.start(LocalGrid(client_app, [node()]))
    assert [report.round for report in found.watch.rounds] == [1, 2]  # type: ignore[attr-defined]
    plain = strategy.RobustStrategy(found.config, 30)
    expected = plain.start(LocalGrid(client_app, [node()]))
    assert result.arrays is not None
    assert expected.arrays is not None
    ours, theirs = result.arrays.to_torch_state_dict(), expected.arrays.to_torch_state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(fedsieve.ConfigError, match=r"unknown setting 'strategy\.rate'"):
        made(**{"strategy.rate": 1})
