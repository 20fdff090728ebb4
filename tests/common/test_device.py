"""Which device a name means, and where the setting counts and where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client.node_settings import read_settings
from common.device import CPU, add_rows, resolve
from common.errors import ConfigError
from common.settings import from_flat, load, to_flat
from emulation.federation import node_configs, with_trusted
from experiments.catalogue import entries
from experiments.compare.keys import cell_key
from server.records.checkpoint import check_settings
from server.strategy import RobustStrategy


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_cards")
def test_with_cards() -> None:
    assert resolve("auto") == resolve("cuda") == resolve("cuda:0") == torch.device("cuda", 0)
    assert resolve("cuda:1") == torch.device("cuda", 1)
    assert resolve("cpu") == CPU
    with pytest.raises(ConfigError, match="^device is 'cuda:3'; this machine has cpu, cuda:0, cuda:1$"):
        resolve("cuda:3")


@pytest.mark.usefixtures("no_card")
def test_without_a_card() -> None:
    assert resolve("auto") == resolve("cpu") == CPU
    for name in ("cuda", "cuda:0"):
        with pytest.raises(ConfigError, match=f"^--device is '{name}'; this machine has cpu$"):
            resolve(name, "--device")
    with pytest.raises(ConfigError, match="this machine has cpu"):
        RobustStrategy(load(overrides=["device=cuda"]), 30)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CUDA", "cuda:1 ", "meta", ""])
def test_a_name_that_is_no_device(name: str) -> None:
    with pytest.raises(ConfigError, match="valid: auto, cpu, cuda or cuda:N"):
        resolve(name)
    with pytest.raises(ConfigError, match="device: .*expected auto, cpu, cuda or cuda:N"):
        load(overrides=[f"device='{name}'"])
    with pytest.raises(ConfigError, match="node config: device is"):
        read_settings({"device": name})


def test_it_is_a_setting_of_the_run_and_of_each_node() -> None:
    config = load(overrides=["device=cpu", "attack.name=sign_flip", "attack.targets=[1]"])
    assert from_flat(to_flat(config)).device == "cpu"
    nodes, _ = with_trusted(node_configs(config), config)
    assert [node["device"] for node in nodes] == ["cpu"] * 3
    assert read_settings({"device": "cpu"}).device == CPU


def test_it_changes_neither_a_cell_nor_what_a_run_may_go_on_with() -> None:
    one, other = (load(overrides=[f"device={name}"]) for name in ("cpu", "cuda:1"))
    assert cell_key(one, "data") == cell_key(other, "data")
    check_settings(Path("run"), one, other)


def test_the_list_says_which_rules_copy_to_the_cpu() -> None:
    copying = {entry["name"] for entry in entries("aggregators") if entry["host"] != "-"}
    assert copying == {"flame", "mda", "signguard"}


def test_rows_are_added_where_an_index_repeats() -> None:
    total = torch.ones(3, 2)
    add_rows(total, torch.tensor([0, 2, 0]), torch.ones(3, 2))
    assert total[:, 0].tolist() == [3, 1, 2]
