"""Devices divided over the containers: each once, sides as an emulation draws them."""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path

import polars as pl
import pytest

from attacks.app import node_settings, read_attacker
from client.fleet import open_fleet
from common.data import load
from common.errors import ConfigError
from common.settings import load as settings
from emulation.federation import malicious_numbers
from experiments.containers.conduct import Division, divide
from experiments.containers.places import Places

DATA = load("synthetic", "devices=30,items=40,length=8")


def made(folder: Path, honest: list[int], malicious: list[int], *overrides: str) -> tuple[Places, Division]:
    places = Places(folder / "state", folder / "results", folder / "runs")
    places.public.mkdir(parents=True, exist_ok=True)
    config = settings(overrides=["data.name=synthetic", "attack.name=sign_flip", *overrides])
    division = divide(config, DATA, {"honest": honest, "malicious": malicious}, places)
    return places, division


def test_every_device_is_on_one_container_and_the_sides_are_the_draw(tmp_path: Path) -> None:
    _, division = made(tmp_path, [0, 1, 5], [0, 2], "attack.share=0.3", "seed=4")
    config = settings(overrides=["attack.name=sign_flip", "attack.share=0.3", "seed=4"])
    sides = {side: [*chain(*slots.values())] for side, slots in division.devices.items()}
    assert sorted(sides["honest"] + sides["malicious"]) == DATA.devices.tolist()
    assert set(sides["malicious"]) == malicious_numbers(config, DATA)
    assert len(sides["malicious"]) == 9
    for side, slots in division.nodes.items():
        for slot, node in slots.items():
            assert list(open_fleet(node_settings(node)).numbers) == division.devices[side][slot]
            assert (read_attacker(node) is not None) == (side == "malicious")


@pytest.mark.parametrize("slots", [[0], [0, 3], [*range(9)]])
def test_the_malicious_devices_are_the_same_on_few_nodes_and_on_many(
    tmp_path: Path, slots: list[int]
) -> None:
    _, division = made(tmp_path, [0, 1], slots, "attack.share=0.3", "seed=4")
    config = settings(overrides=["attack.name=sign_flip", "attack.share=0.3", "seed=4"])
    assert len(division.devices["malicious"]) == len(slots)
    found = [*chain(*division.devices["malicious"].values())]
    assert len(found) == len(set(found)) == 9
    assert set(found) == malicious_numbers(config, DATA)


def test_the_server_has_the_catalogue_and_waits_for_all(tmp_path: Path) -> None:
    places, division = made(tmp_path, [0, 1, 5], [0, 2])
    assert division.config.strategy.wait_nodes == 5
    assert Path(division.config.data.path).parent == places.public
    assert sorted(path.name for path in places.public.iterdir()) == ["catalogue.parquet"]
    assert pl.read_parquet(division.config.data.path).columns == ["item", "id", "title"]


def test_logs_are_their_owners_and_all_may_read_the_catalogue(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        places, division = made(tmp_path, [0], [0])
    finally:
        os.umask(before)
    for side in ("honest", "malicious"):
        log = Path(str(division.nodes[side][0]["path"]))
        assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (places.public / "catalogue.parquet").stat().st_mode & 0o777 == 0o644


def test_no_container_may_stand_for_more_devices_than_the_largest_log_has(tmp_path: Path) -> None:
    _, division = made(tmp_path / "a", [0, 1], [0], "attack.share=0.3")  # 11 and 10 honest, 9 malicious
    assert division.config.strategy.quota == 11
    _, division = made(tmp_path / "b", [0, 1], [0], "attack.share=0.3", "strategy.quota=4")
    assert division.config.strategy.quota == 4


def test_the_plan_appears_when_it_is_published(tmp_path: Path) -> None:
    places, division = made(tmp_path, [0, 7], [3])
    assert not places.plan("honest").exists()
    division.publish(places)
    assert list(json.loads(places.plan("honest").read_text())) == ["0", "7"]
    assert "attack" in json.loads(places.plan("malicious").read_text())["3"]


def test_a_later_division_leaves_no_log_of_an_earlier_one(tmp_path: Path) -> None:
    made(tmp_path, [0, 1, 2, 3], [0])
    places, _ = made(tmp_path, [0, 1], [0])
    assert len(list(places.side("honest").rglob("node-*.parquet"))) == 2


def test_without_malicious_containers_nobody_attacks(tmp_path: Path) -> None:
    _, division = made(tmp_path, [0, 1], [], "data.max_devices=20")
    assert division.config.attack.name == "none"
    assert sorted(chain(*division.devices["honest"].values())) == DATA.devices[:20].tolist()
    assert division.devices["malicious"] == {}


@pytest.mark.parametrize(
    ("honest", "malicious", "override", "text"),
    [
        ([], [0], "seed=0", "no honest container"),
        ([0], [0], "attack.share=0", "MALICIOUS_SHARE=0 leave them no devices"),
        ([0], [0], "attack.name=none", "ATTACK=none"),
        ([0], list(range(40)), "seed=0", "nodes: expected 1 to 6"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, honest: list[int], malicious: list[int], override: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        made(tmp_path, honest, malicious, override)


def test_histories_are_cut_before_they_are_divided(tmp_path: Path) -> None:
    _, division = made(tmp_path, [0, 1], [0], "data.max_length=4")
    for side in ("honest", "malicious"):
        for node in division.nodes[side].values():
            assert max(len(one) for one in load("", str(node["path"])).sequences) == 4
