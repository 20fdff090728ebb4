"""Items and users are called what the log calls them, in settings and in what a run leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from common.data import Dataset, load
from common.errors import ConfigError
from common.items import find, number_of, shown
from emulation.federation import federate, node_configs, prepared
from emulation.targets import with_targets
from experiments.beside import add_beside
from server.records.own_ids import OwnIds
from tests.server.federation import LOG, config

IDS = [f"B{n:05d}" for n in range(1, 31)]
USERS = [f"user {n}, own" for n in range(1, 61)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up log whose items and users have ids of text."""
    made = load("synthetic", LOG)
    rows = [
        {"user": USERS[int(device) - 1], "item": IDS[int(item) - 1], "time": place}
        for device, sequence in zip(made.devices, made.sequences, strict=True)
        for place, item in enumerate(sequence)
    ]
    path = tmp_path_factory.mktemp("log") / "shop.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


@pytest.fixture(scope="module")
def dataset(log: Path) -> Dataset:
    return load("", str(log))


def test_a_run_of_an_own_log_is_told_in_its_own_ids(log: Path, tmp_path: Path) -> None:
    wanted = [IDS[4], IDS[11]]
    settings = config(
        *(f"data.path={log}", "data.name=ml-100k", "attack.name=label_to_target", "attack.share=0.25"),
        *(f"attack.targets={wanted}", "eval.targets=[]", f"eval.group={IDS[2]}", "train.rounds=2"),
    )
    summary = federate(settings, tmp_path)
    assert summary["targets"] == list(summary["exposure_by_target"]) == wanted
    assert summary["group"] == IDS[2]
    add_beside(tmp_path, prepared(settings)[1])
    kept = json.loads((tmp_path / "summary.json").read_text())
    assert [kept["target_items"][own]["number"] for own in wanted] == [
        number_of(name, "") for name in prepared(settings)[1].eval.targets
    ]
    audit = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    known = dict(zip(load("", str(log)).devices.tolist(), load("", str(log)).user_ids, strict=True))
    told = [line for line in audit if line["device"] is not None]
    assert told
    assert all(line["user"] == known[line["device"]] for line in told)
    assert not any("user" in line for line in audit if line["device"] is None)


def test_a_wrong_id_is_refused_with_the_nearest(dataset: Dataset) -> None:
    for given, meant in {
        "B00O12": "B00012",
        "b00012": "B00012",
        " B00012": "B00012",
        "clod": "cold",
        "B0012": "B00012",
    }.items():
        with pytest.raises(ConfigError, match=rf"attack\.targets: .*no item.*did you mean '{meant}'"):
            with_targets(config(f"attack.targets='{given}'"), dataset)
    params = ("attack.name=subgroup", "attack.params={group: B00O12}")
    with pytest.raises(ConfigError, match=r"attack\.params: subgroup: .*did you mean 'B00012'"):
        with_targets(config(*params), dataset)


@pytest.mark.parametrize(
    ("ids", "name", "number"),
    [
        (["7", "5"], "5", 2),
        (["7", "5"], "#1", 1),
        (["007", "7"], "7", 2),
        (["007", "7"], "007", 1),
        (["#2", "x"], "#2", 2),
        (["a,b", "c"], "a,b", 1),
        (["18446744073709551616", "c"], "18446744073709551616", 1),
    ],
)
def test_an_id_comes_before_a_number(ids: Sequence[str], name: str, number: int) -> None:
    assert find(name, ids, "eval.targets") == number


def test_what_is_shown_names_the_same_item_again() -> None:
    ids = ["cold", "#3", "B1", "", "5"]
    assert [shown(n, ids) for n in range(1, 7)] == ["#1", "#2", "B1", "#4", "5", "#6"]
    for number in range(1, 6):
        assert find(shown(number, ids), ids, "eval.targets") == number


def test_nodes_find_their_owners_ids(log: Path) -> None:
    from attacks.app import node_settings, read_attacker
    from client.fleet import open_fleet

    given = {"path": str(log), "exposure_targets": f"{IDS[3]}, #2", "attack": "nan", "targets": IDS[0]}
    settings, attacker = node_settings(given), read_attacker(given)
    fleet = open_fleet(settings)
    assert attacker is not None
    assert [fleet.item_ids[n - 1] for n in attacker.on(fleet).targets] == [IDS[0]]
    assert settings.tells.on(fleet.item).targets == {fleet.item_ids.index(IDS[3]) + 1, 2}


def test_a_server_without_a_log_has_numbers_alone(dataset: Dataset) -> None:
    nobody = OwnIds()
    assert (nobody.item("#12"), nobody.user(3)) == ("#12", None)
    with pytest.raises(ConfigError, match=r"eval\.targets: item 'B1': no catalogue"):
        nobody.item("B1")
    assert "user" not in json.dumps(node_configs(prepared(config("eval.targets=[3]"))[1]))
