"""From a grid's YAML to its cells, and what is wrong with it told before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attacks import ATTACKS
from common.errors import ConfigError, UnknownName
from experiments.compare.command import opened
from experiments.compare.grid import Cell, expand, read_grid
from server.aggregators import AGGREGATORS
from tests.experiments.compare.samples import grid_file


def cells(folder: Path, **changes: Any) -> list[Cell]:
    return expand(read_grid(grid_file(folder, **changes)))


def test_every_combination_is_a_cell_with_its_settings(tmp_path: Path) -> None:
    found = cells(tmp_path, seeds=[0, 1], shares=[0.1, 0.3], targets=["cold", [3]])
    assert len(found) == 2 * 2 * 2 * 2 * 2
    told = {(c.labels["aggregator"], c.labels["attack"], c.labels["seed"], c.labels["aim"]) for c in found}
    assert ("median", "sign_flip", 1, "3") in told
    for cell in found:
        config, labels = cell.config, cell.labels
        assert config.strategy.aggregator.name == labels["aggregator"]
        assert (config.attack.name, config.attack.share) == (labels["attack"], labels["malicious_share"])
        assert config.seed == labels["seed"]
        assert config.train.rounds == 6
    assert [c.labels["seed"] for c in found] == [0] * 16 + [1] * 16


def test_all_stands_for_the_registries(tmp_path: Path) -> None:
    found = cells(tmp_path, strategies="all", attacks="all", skip=["bulyan", "nan"])
    assert {c.labels["aggregator"] for c in found} == set(AGGREGATORS) - {"bulyan"}
    names = list(dict.fromkeys(c.labels["attack"] for c in found))
    assert set(names) == set(ATTACKS) - {"nan"}
    assert names[0] == "control"


def test_all_may_stand_in_a_list(tmp_path: Path) -> None:
    recipes = ["all", {"aggregator": "all", "set": {"pre": ["nnm"]}}, "krum"]
    attacks = ["all", {"name": "adaptive", "mode": "spread"}]
    found = cells(tmp_path, strategies=recipes, attacks=attacks, skip=["bulyan", "krum", "nan"])
    rules = list(dict.fromkeys(c.labels["aggregator"] for c in found))
    assert {"mean", "nnm > mean"} < set(rules)
    assert rules[-1] == "krum"  # named, so it is not left out
    assert len(rules) == 2 * (len(AGGREGATORS) - 2) + 1
    assert {"control", "adaptive", "adaptive(mode=spread)"} < {c.labels["attack"] for c in found}


def test_a_strategy_may_set_more_than_its_rule(tmp_path: Path) -> None:
    recipes = [
        {"name": "multi_krum", "select": 5},
        {"aggregator": "mean", "set": {"pre": ["nnm"], "byzantine": 0.1}},
        {"aggregator": "mean", "label": "plain"},
    ]
    found = cells(tmp_path, strategies=recipes, attacks=["control"])
    assert [c.labels["aggregator"] for c in found] == [
        "multi_krum(select=5)",
        "nnm > mean, byzantine=0.1",
        "plain",
    ]
    assert found[0].config.strategy.aggregator.params == {"select": 5}
    assert found[1].config.strategy.byzantine == 0.1
    assert [p.name for p in found[1].config.strategy.pre] == ["nnm"]


def test_parameters_of_an_attack_make_another_attack(tmp_path: Path) -> None:
    found = cells(tmp_path, attacks=[{"name": "scaling", "scale": 3}, "scaling"], strategies=["mean"])
    assert [c.labels["attack"] for c in found] == ["scaling(scale=3)", "scaling"]
    assert found[0].config.attack.params == {"scale": 3}


def test_any_setting_can_be_an_axis(tmp_path: Path) -> None:
    vary = {"model.dim": [4, 8], "strategy.constraints": [[], ["row_norm_cap"]]}
    found = cells(tmp_path, vary=vary, strategies=["mean"], attacks=["control"], models=["sasrec", "gru4rec"])
    assert len(found) == 8
    assert {c.labels["model.dim"] for c in found} == {4, 8}
    assert {c.labels["strategy.constraints"] for c in found} == {"[]", '["row_norm_cap"]'}
    assert {c.config.model.name for c in found} == {"sasrec", "gru4rec"}
    dims = {(c.labels["model.dim"], c.config.model.dim) for c in found}
    assert dims == {(4, 4), (8, 8)}


def test_a_budget_of_one_data_set_wins_over_the_grid(tmp_path: Path) -> None:
    configs = ["base.yaml", {"config": "base.yaml", "set": {"train.rounds": 9}}]
    found = cells(tmp_path, configs=configs, strategies=["mean"], attacks=["control"])
    assert [c.config.train.rounds for c in found] == [6, 9]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"strategies": ["krumm"]}, "krumm under .*: unknown aggregator 'krumm': did you mean 'krum'?"),
        ({"models": ["sasrek"]}, "mean under .*: model.name: unknown model 'sasrek'"),
        ({"attacks": ["sgn_flip"]}, "unknown attack 'sgn_flip': did you mean 'sign_flip'?"),
        ({"strategies": [{"name": "krum", "nope": 1}]}, "'krum' has no parameter 'nope'"),
        ({"set": {"train.round": 3}}, "unknown setting train.round: did you mean 'train.rounds'"),
        ({"strategies": [{"aggregator": "krum", "set": {"byzantine": 0.9}}]}, "it needs at least"),
        ({"shares": [1.5]}, r"grid\.yaml: shares\.0: expected a number from 0 to 1 \(given: 1\.5\)"),
        ({"seeds": ["x"]}, r"grid\.yaml: seeds\.0: expected a whole number from 0 \(given: 'x'\)"),
        ({"configs": []}, r"grid\.yaml: configs"),
        ({"colour": 1}, r"grid\.yaml: unknown setting colour; valid: configs, models, strategies, "),
        ({"seed": [1]}, r"grid\.yaml: unknown setting seed: did you mean 'seeds'\?"),
        ({"strategies": [{"aggregator": "krum", "byzantine": 0.1}]}, r"unknown setting strategies\.0\.byzan"),
        ({"strategies": []}, r"grid\.yaml: strategies: missing; expected rules to compare, or all: .*krum, "),
        ({"set": {"attack.share": 0.1}}, r"grid\.yaml: set: attack\.share would not count: .* from shares"),
        (
            {"set": {"attack": {"name": "ipm"}}},
            "set: attack.name would not count: the grid has it from attacks",
        ),
        ({"vary": {"seed": [1, 2]}}, "vary: seed would not count: the grid has it from seeds"),
        ({"vary": {"strategy.aggregator": ["krum"]}}, "strategy.aggregator would not count: .* strategies"),
        ({"vary": {"attack.params.mode": ["row"]}}, "attack.params.mode would not count: .* from attacks"),
        (
            {"configs": [{"config": "base.yaml", "set": {"attack.targets": ["3"]}}]},
            r"configs\.0\.set: attack\.targets would not count: the grid has it from targets",
        ),
        ({"models": ["sasrec"], "vary": {"model.name": ["hstu"]}}, "model.name would not count: .* models"),
        (
            {"models": [{"name": "sasrec", "dim": 8}], "set": {"model.dim": 4}},
            "set: model.dim would not count: the grid has it from models",
        ),
        (
            {"strategies": [{"aggregator": "krum", "set": {"lr": 0.1}}], "vary": {"strategy.lr": [1, 2]}},
            r"vary: strategy\.lr would not count: the grid has it from strategies",
        ),
        ({"configs": ["absent.yaml"]}, "cannot read .*absent.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises((ConfigError, UnknownName), match=text):
        cells(tmp_path, **changes)


def test_what_some_models_set_themselves_is_the_default_of_the_others(tmp_path: Path) -> None:
    models = ["sasrec", {"name": "gru4rec", "dim": 32}]
    found = cells(tmp_path, models=models, strategies=["mean"], attacks=["control"], set={"model.dim": 16})
    assert [one.config.model.dim for one in found] == [16, 32]
    strategies = ["mean", {"aggregator": "krum", "set": {"byzantine": 0.1}}]
    vary = {"strategy.byzantine": [0.1, 0.2]}
    found = cells(tmp_path, strategies=strategies, attacks=["control"], vary=vary)
    assert [one.config.strategy.byzantine for one in found] == [0.1, 0.2, 0.1, 0.1]


def test_a_file_that_is_no_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_grid(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("configs: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        read_grid(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="list.yaml"):
        read_grid(tmp_path / "list.yaml")


def test_one_thing_alone_is_a_list_of_it(tmp_path: Path) -> None:
    alone = cells(
        tmp_path,
        strategies={"name": "multi_krum", "select": 5},
        attacks={"name": "scaling", "scale": 3},
        seeds=1,
        shares=0.1,
        targets="cold",
        models="gru4rec",
        vary={"model.dim": 4},
        configs={"config": "base.yaml"},
    )
    (one,) = alone
    assert one.labels["aggregator"] == "multi_krum(select=5)"
    assert (one.config.seed, one.config.attack.share, one.config.model.name) == (1, 0.1, "gru4rec")
    (items,) = cells(tmp_path, strategies="mean", attacks="sign_flip", targets=[3, 4])
    assert items.config.attack.targets == ("3", "4")
    many = cells(tmp_path, strategies="mean", attacks="sign_flip", targets=["cold", 3, ["B00A", "#4"]])
    assert [one.config.attack.targets for one in many] == ["cold", ("3",), ("B00A", "#4")]
    (named,) = cells(tmp_path, strategies="mean", attacks="sign_flip", targets="B00A")
    assert named.config.attack.targets == ("B00A",)


def test_cells_that_no_table_could_tell_apart_are_refused(tmp_path: Path) -> None:
    twice = [{"config": "base.yaml", "set": {"model.dim": dim}} for dim in (8, 16)]
    path = grid_file(tmp_path, configs=twice)
    with pytest.raises(ConfigError, match="two cells called synthetic · sasrec · mean · control"):
        opened(path, "")
    apart = [{"config": "base.yaml", "set": {"train.rounds": rounds}} for rounds in (6, 8)]
    assert len(opened(grid_file(tmp_path, configs=apart), "")[3]) == 8
    same = grid_file(tmp_path, configs=["base.yaml", "base.yaml"])
    assert len(opened(same, "")[3]) == 4  # one computation
