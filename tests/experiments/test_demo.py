"""``make run`` on a small log: three runs in three processes and the table that ends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.data import load
from common.errors import ConfigError
from common.settings import load as load_settings
from emulation.federation import malicious_numbers
from emulation.targets import with_targets
from experiments.demo import CLEAN, CONFIG, PLAIN, draw, plan, show, table_rows
from experiments.floors import evaluate, popularity

SMALL = ["data.name=synthetic", "model.dim=8", "model.max_len=8", "model.blocks=1", "train.rounds=3"]
ROBUST = "attacked, sieve"
SMALL += ["train.devices_per_round=16", "train.slice_size=40", "eval.every=2"]


def test_the_three_runs_differ_in_rule_and_attack_alone() -> None:
    runs = plan(load_settings(CONFIG, SMALL))
    assert [(c.strategy.aggregator.name, c.attack.name) for c in runs.values()] == [
        ("mean", "control"),
        ("mean", "label_to_target"),
        ("sieve", "label_to_target"),
    ]
    shares = {(c.seed, c.attack.share, c.train.model_dump_json()) for c in runs.values()}
    assert len(shares) == 1


def test_parameters_go_to_the_run_that_they_are_of() -> None:
    settings = ["strategy.aggregator={name: sieve, rows: 2}", "attack={name: explicit_boost, boost: 5}"]
    runs = plan(load_settings(CONFIG, [*SMALL, *settings]))
    assert list(runs) == [CLEAN, PLAIN, "attacked, sieve(rows=2)"]
    assert [c.strategy.aggregator.params for c in runs.values()] == [{}, {}, {"rows": 2}]
    assert [c.attack.params for c in runs.values()] == [{}, {"boost": 5}, {"boost": 5}]


def test_floors_are_measured_on_the_honest_users() -> None:
    dataset = load("synthetic")
    config = with_targets(load_settings(CONFIG, SMALL), dataset)
    bad = malicious_numbers(config, dataset)
    assert len(bad) == round(0.2 * len(dataset))
    summary = {"test": {"hr@10": 0.5, "ndcg@10": 0.25}, "er@10": 0.125}
    rows = table_rows(config, dataset, {CLEAN: summary})
    assert rows[CLEAN] == {"hr@10": 0.5, "ndcg@10": 0.25, "er@10": 0.125}
    everyone = evaluate(dataset, popularity(dataset))
    assert rows["Popularity"]["hr@10"] != pytest.approx(everyone["hr@10"])
    assert draw(rows, "a protocol", 0).row_count == 3


def test_the_demo_runs_in_three_processes_and_leaves_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = show(tmp_path / "demo", SMALL)
    assert list(rows) == ["Popularity", "Markov-1", CLEAN, PLAIN, ROBUST]
    assert json.loads((tmp_path / "demo" / "demo.json").read_text()) == rows
    for name in (CLEAN, PLAIN, ROBUST):
        assert (tmp_path / "demo" / name / "summary.json").exists()
    printed = capsys.readouterr().out
    assert "200 users, each a device" in printed
    assert "attacked, sieve: round 3, test HR@10" in printed
    assert "Test items of the honest users" in printed


def test_an_error_in_a_run_ends_the_demo(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="unknown optimizer 'adan'"):
        show(tmp_path / "demo", [*SMALL, "strategy.optimizer=adan"])


@pytest.mark.parametrize("change", ["attack.name=none", "attack.targets=[]"])
def test_a_demo_without_an_attack_or_a_target_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(ConfigError, match=r"^demo: expected attack\.name, an attack, and attack\.targets"):
        show(tmp_path / "out", [*SMALL, change])
    assert not (tmp_path / "out").exists()
