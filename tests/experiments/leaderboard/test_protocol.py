"""The shipped protocol is what it says, and one that compares unlike with unlike is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config import Component
from common.errors import ConfigError
from experiments import shipped
from experiments.compare.grid import Recipe, expand
from experiments.leaderboard.protocol import FIXED, read_protocol
from server.aggregators import AGGREGATORS
from tests.experiments.leaderboard.samples import protocol_file


def test_the_first_edition_has_every_rule_ten_attacks_three_logs_shares_and_seeds() -> None:
    found = read_protocol()
    assert (found.head.version, found.wanted) == (1, shipped.EDITION)
    grid = found.grid
    assert (grid.shares, grid.seeds) == ((0.2, 0.05, 0.01), (0, 1, 2))
    assert {one.aggregator.name for one in grid.strategies} == {"all"}
    for share in (0.2, 0.01):  # each combination is valid, at either end
        cells = expand(grid.model_copy(update={"shares": (share,), "seeds": (0,)}))
        names = {key: {one.labels[key] for one in cells} for key in ("data", "model", "aggregator", "attack")}
        assert names["data"] == {"ml-100k", "lastfm", "amazon-beauty"} == set(found.head.minutes)
        assert names["aggregator"] == set(AGGREGATORS)
        assert names["model"] == {"sasrec", "esasrec"}
        assert len(names["attack"] - set(FIXED)) == 10
        assert len(cells) == 3 * 2 * len(AGGREGATORS) * 12


def test_published_numbers_are_of_a_log_and_model_of_the_protocol() -> None:
    found = read_protocol()
    few = {"shares": (0.2,), "seeds": (0,), "strategies": (Recipe(aggregator=Component(name="mean")),)}
    cells = expand(found.grid.model_copy(update=few))
    pairs = {(one.labels["data"], one.labels["model"]) for one in cells}
    assert found.head.published
    assert {(one.data, one.model) for one in found.head.published} <= pairs


def test_a_rule_of_ones_own_is_one_more_strategy(tmp_path: Path) -> None:
    path = str(protocol_file(tmp_path))
    own = "{name: 'my_package.rules:Mine', share: 0.6}"
    found = read_protocol(path, ["my_package.rules:Mine", own])
    plain, with_parameter = (one.aggregator for one in found.grid.strategies[2:])
    assert (plain.name, plain.params) == ("my_package.rules:Mine", {})
    assert (with_parameter.name, with_parameter.params) == ("my_package.rules:Mine", {"share": 0.6})
    assert found.added["my_package.rules:Mine(share=0.6)"] == own


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 0}, "small.yaml: version: expected a whole number from 1 (given: 0)"),
        ({"seed": [0]}, "seed"),
        ({"vary": {"train.rounds": [2, 3]}}, "small.yaml: vary: a protocol has no further axes"),
        ({"targets": ["cold", "random"]}, "small.yaml: targets: 2 choices; a protocol has one"),
        ({"attacks": ["control", "ipm"]}, "small.yaml: attacks: parity missing"),
        ({"strategies": ["median"]}, "small.yaml: strategies: mean missing"),
        ({"published": [{"data": "x"}]}, "small.yaml: published.0.model: missing; expected text"),
    ],
)
def test_a_wrong_protocol_is_refused_with_its_key(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_protocol(str(protocol_file(tmp_path, **changes)))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "added", "told"),
    [
        ("v9", [], "unknown protocol 'v9'; valid: v1"),
        ("v1", ["{share: 1}"], "--add '{share: 1}'; valid: my_package.rules:Mine"),
        ("v1", ["{name: ["], "--add '{name: ['; valid: my_package.rules:Mine"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(wanted: str, added: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_protocol(wanted, added)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
