"""Who runs on what in a deployment, and which files an app consists of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attacks.app import node_settings
from client.fleet import open_fleet
from common.data import catalogue, load
from common.errors import ConfigError
from common.settings import from_flat
from common.settings import load as settings
from emulation.federation import malicious_numbers
from experiments.deployed import PACKAGES, Plan, plan, stage

DATA = load("synthetic", "devices=10,items=30,length=8")


def make(folder: Path, honest: int, malicious: int, *overrides: str) -> Plan:
    return plan(settings(overrides=["data.name=synthetic", *overrides]), DATA, honest, malicious, folder)


def test_each_node_has_its_own_devices_and_the_last_ones_attack(tmp_path: Path) -> None:
    made = make(tmp_path, 2, 1, "attack.name=gaussian", "attack.targets=[7]", "attack.params={scale: 2.0}")
    fleets = [open_fleet(node_settings(node)) for node in made.nodes]
    assert sorted(n for fleet in fleets for n in fleet.numbers.tolist()) == DATA.devices.tolist()
    assert [len(fleet.numbers) for fleet in fleets] == [4, 3, 3]
    assert {fleet.num_items for fleet in fleets} == {30}
    assert ["attack" in node for node in made.nodes] == [False, False, True]
    assert made.nodes[2]["attack"] == "gaussian"
    assert made.nodes[2]["targets"] == "#7"
    assert [node.get("exposure_targets") for node in made.nodes] == ["#7", "#7", None]
    assert not any("min_group" in node for node in made.nodes)  # a deployment hides small groups
    assert json.loads(str(made.nodes[2]["params"])) == {"scale": 2.0}


@pytest.mark.parametrize(
    ("honest", "malicious", "seed"), [(3, 1, 0), (3, 1, 7), (2, 2, 0), (7, 3, 1), (9, 1, 2), (4, 1, 3)]
)
def test_the_malicious_devices_are_those_of_the_emulation(
    tmp_path: Path, honest: int, malicious: int, seed: int
) -> None:
    """With the same seed, share and log: results of the two then differ by the network alone."""
    share = malicious / (honest + malicious)
    own = ["attack.name=gaussian", f"seed={seed}"]
    made = make(tmp_path, honest, malicious, *own)
    fleets = [open_fleet(node_settings(node)) for node in made.nodes]
    bad = [fleet for fleet, node in zip(fleets, made.nodes, strict=True) if "attack" in node]
    emulated = settings(overrides=["data.name=synthetic", *own, f"attack.share={share}"])
    found = frozenset(n for fleet in bad for n in fleet.numbers.tolist())
    assert found == malicious_numbers(emulated, DATA)
    assert len(found) == round(share * 10)


def test_the_server_gets_the_catalogue_and_no_log(tmp_path: Path) -> None:
    made = make(tmp_path / "logs", 3, 1, "attack.name=nan", "train.rounds=3")
    path = Path(made.config.data.path)
    assert path.name == "catalogue.parquet"
    assert catalogue(made.config.data.name, str(path))[0] == 30
    assert made.config.strategy.wait_nodes == 4
    assert made.config.attack.share == pytest.approx(0.25)
    assert len(made.config.eval.targets) == 1  # the cold item is chosen where the data is
    flat = made.run_config(tmp_path / "out", resume=True)
    assert (flat.pop("out"), flat.pop("resume")) == (str(tmp_path / "out"), True)
    assert from_flat(flat) == made.config


def test_the_nodes_logs_are_as_short_as_the_settings_say(tmp_path: Path) -> None:
    made = make(tmp_path, 2, 0, "data.max_length=4")
    for node in made.nodes:
        fleet = open_fleet(node_settings(node))
        assert {len(fleet.train(number)) for number in fleet.numbers} == {2}


def test_without_malicious_nodes_nothing_says_attack(tmp_path: Path) -> None:
    made = make(tmp_path, 2, 0, "attack.name=nan")
    assert (made.config.attack.name, made.config.attack.share) == ("none", 0.0)
    assert not any("attack" in node for node in made.nodes)


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [((2, 1), "attack.name: none, but 1 malicious"), ((11, 0), "nodes: expected 1 to 10")],
)
def test_what_cannot_be_is_refused(tmp_path: Path, nodes: tuple[int, int], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        make(tmp_path, *nodes)


def test_the_staged_app_holds_the_app_and_nothing_else(tmp_path: Path) -> None:
    app = stage(tmp_path / "app")
    assert {entry.name for entry in app.iterdir()} == {"pyproject.toml", *PACKAGES}
    assert (app / "server" / "app.py").exists()
    assert not list(app.rglob("__pycache__"))
