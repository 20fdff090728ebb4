"""A whole federation in one process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attacks import ATTACKS
from attacks.app import node_settings
from attacks.base import View
from attacks.zero import Zero
from client.fleet import open_fleet
from client.regularisers import Anchor
from common.config import RunConfig
from common.data import Dataset, load, recent
from common.data.cut import first
from common.errors import ConfigError, RunError, UnknownName
from common.settings import load as load_settings
from common.updates import DeviceUpdates
from emulation.federation import (
    attack_keys,
    federate,
    malicious_numbers,
    node_configs,
    prepared,
    trusts,
    with_trusted,
)
from emulation.targets import with_targets
from experiments.engines import emulate
from tests.server.federation import DEVICES, LOG, config, lines, same_model

ATTACKED = ("attack.name=label_to_target", "attack.share=0.25", "eval.targets=[]")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load("synthetic", LOG)


def test_an_attacked_run_writes_everything(tmp_path: Path, dataset: Dataset) -> None:
    settings = config(*ATTACKED)
    summary = emulate(settings, tmp_path)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert (tmp_path / "report.html").stat().st_size > 10**6
    assert summary["attack"] == "label_to_target"
    assert summary["malicious_share"] == 0.25
    assert len(summary["targets"]) == 1
    assert summary["evaluated_devices"] == DEVICES - round(0.25 * DEVICES)  # the malicious abstain
    bad = malicious_numbers(with_targets(settings, dataset), dataset)
    assert {a["device"] for a in lines(tmp_path, "audit") if a["node"] == 2} <= bad
    assert not {a["device"] for a in lines(tmp_path, "audit") if a["node"] == 1} & bad


class Boom(Zero):
    """An attack with a fault in it."""

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        raise ValueError("boom")


def test_an_attack_that_fails_ends_the_run_in_its_first_round(tmp_path: Path) -> None:
    """Else its figures would be those of a defence that stops it."""
    name = "tests.emulation.test_federation:Boom"
    settings = config(f"attack.name={name}", "attack.share=0.25")
    failed = f"^attack '{name}' failed: ValueError: boom; `fedsieve check {name}` would tell more$"
    with pytest.raises(RunError, match=failed):
        emulate(settings, tmp_path)
    assert len(lines(tmp_path, "metrics")) == 0


class Own(Anchor):
    """A term of one's own."""


OWN = "tests.emulation.test_federation:Own"


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ([], "$"),
        ([f"client.regularisers={OWN}"], f"; `fedsieve check {OWN}` would tell more$"),
    ],
)
def test_what_fails_at_honest_devices_is_named_where_it_is_ones_own(
    settings: list[str], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("boom")

    monkeypatch.setattr("client.app.Cohort.train", fail)
    told = f"^the training or ranking of honest devices failed: ValueError: boom{advice}"
    with pytest.raises(RunError, match=told):
        emulate(config(*settings), tmp_path)


def config_of(out: Path) -> RunConfig:
    """What a run wrote down, with the secret that these tests set and no file holds."""
    return load_settings(out / "config.yaml", ["strategy.secret=a"])


def test_targets_are_resolved_in_the_config_that_is_kept(tmp_path: Path) -> None:
    summary = federate(config(*ATTACKED), tmp_path)
    kept = config_of(tmp_path)
    assert kept.attack.targets == kept.eval.targets
    assert [name.removeprefix("#") for name in kept.eval.targets] == summary[
        "targets"
    ]  # ids of a made-up log
    federate(kept, tmp_path / "again")
    assert same_model(tmp_path, tmp_path / "again")


def test_both_sides_of_the_draw_make_the_whole_log(dataset: Dataset) -> None:
    settings = with_targets(config(*ATTACKED), dataset)
    honest, bad = (set(open_fleet(node_settings(one)).numbers) for one in node_configs(settings))
    assert honest | bad == {int(d) for d in dataset.devices}
    assert not honest & bad
    assert bad == malicious_numbers(settings, dataset)
    assert len(bad) == 10
    other = with_targets(config(*ATTACKED, "seed=4"), dataset)
    assert malicious_numbers(other, dataset) != bad


@pytest.mark.parametrize("overrides", [("attack.name=none",), ("attack.name=nan", "attack.share=0")])
def test_without_malicious_devices_there_is_one_node(dataset: Dataset, overrides: tuple[str, ...]) -> None:
    settings = with_targets(config(*overrides), dataset)
    (only,) = node_configs(settings)
    assert only["part"] == "all"
    assert malicious_numbers(settings, dataset) == frozenset()


def test_max_devices_cuts_the_log(tmp_path: Path, dataset: Dataset) -> None:
    settings = config(*ATTACKED, "data.max_devices=12", "train.devices_per_round=100")
    federate(settings, tmp_path)
    first = {int(d) for d in dataset.devices[:12]}
    assert {a["device"] for a in lines(tmp_path, "audit")} == first
    assert malicious_numbers(settings, dataset) < first


def test_the_others_are_no_part_of_the_run(dataset: Dataset) -> None:
    """Nor do targets or the digest of the data depend on them: both sides open the first devices alone."""
    settings = config(*ATTACKED, "data.max_devices=12")
    log, resolved = prepared(settings)
    assert np.array_equal(log.devices, dataset.devices[:12])
    assert (log.num_items, log.item_ids) == (dataset.num_items, dataset.item_ids)
    assert resolved.eval.targets == with_targets(settings, first(dataset, 12)).eval.targets
    honest, bad = (open_fleet(node_settings(one)) for one in node_configs(resolved))
    assert sorted([*honest.numbers, *bad.numbers]) == log.devices.tolist()


def test_max_length_cuts_every_history(tmp_path: Path, dataset: Dataset) -> None:
    settings = config(*ATTACKED, "data.max_length=5", "train.rounds=1")
    resolved = with_targets(settings, recent(dataset, 5))  # what is cold is told by the cut log
    fleets = [open_fleet(node_settings(node)) for node in node_configs(resolved)]
    assert max(len(fleet.train(n)) for fleet in fleets for n in fleet.numbers) == 3
    assert federate(settings, tmp_path)["targets"] == [
        name.removeprefix("#") for name in resolved.eval.targets
    ]
    assert resolved.eval.targets != with_targets(settings, dataset).eval.targets


def test_an_attack_rests_between_its_turns(tmp_path: Path) -> None:
    nan = ("attack.name=nan", "attack.share=0.4", "eval.every=0", "eval.targets=[]", "train.rounds=7")
    federate(config(*nan, "attack.start_round=2", "attack.period=3", "attack.active=2"), tmp_path)
    refused = {a["round"] for a in lines(tmp_path, "audit") if a["reason"] == "not_finite"}
    assert refused == {2, 3, 5, 6}


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("attack.targets=[31]", r"attack\.targets: the log has no item '31'"),
        ("eval.targets=[2, 99]", r"eval\.targets: the log has no item '99'"),
        ("eval.targets=[2, 2]", r"eval\.targets: an item appears more than once"),
    ],
)
def test_targets_outside_the_catalogue_are_refused(tmp_path: Path, setting: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        federate(config(setting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("attack.name=krumm", "unknown attack 'krumm'; valid: "),
        (
            "attack={name: sign_flip, params: {nope: 1}}",
            "attack 'sign_flip' has no parameter 'nope'; valid: ",
        ),
    ],
)
def test_a_wrong_attack_is_told_before_the_run(tmp_path: Path, setting: str, error: str) -> None:
    with pytest.raises(ConfigError) as found:
        federate(config(setting), tmp_path / "run")
    assert error in str(found.value)
    assert isinstance(found.value, UnknownName) == ("unknown" in error)
    assert not (tmp_path / "run").exists()


def test_a_deployment_checks_the_attack_of_its_nodes_too() -> None:
    settings = config("attack.name=krumm", "attack.targets=[3]")
    with pytest.raises(UnknownName, match="unknown attack 'krumm'"):
        attack_keys(settings)
    with pytest.raises(ConfigError, match=r"attack\.targets: 'cold' is not resolved"):
        attack_keys(config("attack.name=nan"))
    keys = attack_keys(config("attack.name=nan", "attack.targets=[3, 4]", "attack.start_round=2"))
    times = {"start_round": 2, "period": 1, "active": 1, "rest": "honest"}
    assert keys == {"attack": "nan", "seed": 0, "targets": "3,4", **times, "params": "{}"}


REFUSED = {
    "inf": "not_finite",
    "nan": "not_finite",
    "oversize": "size",
    "replay": "stale",
    "slow_reply": "failed",
    "stale_round": "stale",
    "wrong_dtype": "dtype",
    "wrong_keys": "missing",
    "wrong_shape": "shape",
}


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_runs_in_the_node(tmp_path: Path, name: str) -> None:
    settings: RunConfig = config(f"attack.name={name}", "attack.share=0.4", "train.rounds=2", "eval.every=0")
    federate(settings, tmp_path)
    reasons = {a["reason"] for a in lines(tmp_path, "audit") if a["node"] == 2 and a["verdict"] == "refused"}
    assert reasons - {"idle"} == ({REFUSED[name]} if name in REFUSED else set())


def test_a_rule_with_a_root_gets_a_trusted_node_of_the_emulation(tmp_path: Path) -> None:
    settings = ["strategy.aggregator=fltrust", "data.public=5", "attack.name=sign_flip", "attack.share=0.2"]
    chosen = with_targets(config(*settings), load("synthetic", LOG))
    assert trusts(chosen)
    assert not trusts(config())
    nodes, found = with_trusted(node_configs(chosen), chosen)
    assert found.strategy.trusted_nodes == (3,)
    assert nodes[2]["part"] == "public"
    assert nodes[2]["public"] == 5
    assert with_trusted(node_configs(found), found) == (nodes, found)
    with pytest.raises(ConfigError, match="an emulation has its own trusted node"):
        with_trusted(node_configs(chosen), config(*settings, "strategy.trusted_nodes=[9]"))
    summary = federate(config(*settings), tmp_path / "run")
    assert summary["evaluated_devices"] == DEVICES - round(0.2 * DEVICES)
    kept = config_of(tmp_path / "run")
    assert kept.strategy.trusted_nodes == (3,)
    federate(kept, tmp_path / "again")
    assert same_model(tmp_path / "run", tmp_path / "again")


def test_nodes_of_an_emulation_tell_what_is_measured_and_no_more() -> None:
    _, measured = prepared(config(*ATTACKED, "attack.targets=[5,9]", "eval.targets=[]"))
    for one in node_configs(measured):
        assert (one["exposure_targets"], one["min_group"]) == ("#5,#9", 1)
    for group, named in ((3, "#5,#9,#3"), (9, "#5,#9")):
        _, measured = prepared(config("attack.targets=[5,9]", "eval.targets=[]", f"eval.group={group}"))
        assert [one["exposure_targets"] for one in node_configs(measured)] == [named]
    many = config("eval.targets=" + str(list(range(1, 18))))
    with pytest.raises(ConfigError, match="eval.targets: 17 items; nodes tell the exposure of up to 16"):
        node_configs(many)
    many = config("eval.targets=" + str(list(range(1, 17))), "eval.group=20")
    with pytest.raises(ConfigError, match="eval.targets: 16 items and eval.group 20; nodes tell"):
        node_configs(many)


def test_attackers_at_rest_are_honest_or_hold_the_target(tmp_path: Path) -> None:
    """Until its first round a late attack is, bit for bit, the clean run or that of parity."""
    late = ("attack={name: adaptive, share: 0.4, targets: [5], start_round: 4, rest: %s}", "train.rounds=5")
    always = ("attack={name: %s, share: 0.4, targets: [5]}", "train.rounds=5")
    norms = {}
    for name, settings in (("honest", late), ("parity", late), ("control", always), ("parity ", always)):
        out = tmp_path / name.replace(" ", "-always")
        federate(config(settings[0] % name.strip(), settings[1], "eval.every=0", "eval.targets=[]"), out)
        norms[name] = [line["update_norm"] for line in lines(out, "metrics") if "split" not in line]
    for rest, same in (("honest", "control"), ("parity", "parity ")):
        assert norms[rest][:3] == norms[same][:3]
        assert norms[rest][3] != norms[same][3]
    assert norms["honest"][0] != norms["parity"][0]
