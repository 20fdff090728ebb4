"""Small real federations: every attack must hurt the plain mean, or its defence would prove nothing.

A made-up log with an order, one device in five malicious, the whole path: server, nodes, wire, ranking.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks import build_attack
from common.settings import component, load
from emulation.federation import federate
from server.aggregators import Round, build_aggregator
from tests.attacks.samples import played
from tests.client import samples

pytestmark = pytest.mark.no_cover  # training under the tracer takes half as long again

BASE = (
    "seed=1",
    "data.name=synthetic",
    "data.path='devices=128,items=80,length=14'",
    "model={dim: 16, max_len: 8, blocks: 1, dropout: 0.1}",
    "train={rounds: 40, devices_per_round: 64, slice_size: 40}",
    "strategy={aggregator: mean, lr: 1e-2, warmup_rounds: 3}",
    "attack.share=0.2",
    "eval.every=0",
    "checkpoint_every=0",
)
Run = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Attack -> summary of its run, computed once; ``control`` is the clean run on the same users."""
    found: dict[str, dict[str, Any]] = {}

    def summary(name: str) -> dict[str, Any]:
        if name not in found:
            out = tmp_path_factory.mktemp(name)
            found[name] = federate(load(overrides=[*BASE, f"attack.name={name}"]), out) | {"out": out}
        return found[name]

    return summary


def refused(out: Path) -> list[dict[str, Any]]:
    """Audit lines of replies that were not counted; a device with nothing to learn (idle) is no offence."""
    lines = map(json.loads, (out / "audit.jsonl").read_text().splitlines())
    return [line for line in lines if line["verdict"] == "refused" and line["reason"] != "idle"]


def ndcg(summary: dict[str, Any]) -> float:
    return float(summary["test"]["ndcg@10"])


def test_the_clean_run_learns_and_does_not_recommend_the_target(run: Run) -> None:
    clean = run("control")
    assert ndcg(clean) > 0.2  # a random order has .057
    assert clean["er@10"] < 0.15
    assert not refused(clean["out"])


@pytest.mark.parametrize("name", ["label_to_target", "explicit_boost"])
def test_a_targeted_attack_brings_its_target_to_the_users(run: Run, name: str) -> None:
    assert run(name)["er@10"] > run("control")["er@10"] + 0.4


@pytest.mark.parametrize("name", ["sign_flip", "gaussian"])
def test_an_untargeted_attack_cuts_the_quality(run: Run, name: str) -> None:
    assert ndcg(run(name)) < 0.75 * ndcg(run("control"))


def test_nan_is_stopped_by_admission_and_costs_only_its_senders(run: Run) -> None:
    clean, attacked = run("control"), run("nan")
    found = refused(attacked["out"])
    assert found
    assert {line["reason"] for line in found} == {"not_finite"}
    assert {line["node"] for line in found} == {2}  # the malicious one
    assert ndcg(attacked) > 0.8 * ndcg(clean)


def test_without_admission_one_nan_is_the_mean_for_ever() -> None:
    updates = played("nan", samples.task()).sent
    rule = build_aggregator(component("mean"))
    setting = Round(1, tuple((1, i) for i in range(len(updates))), torch.Generator())
    combined, _ = rule(updates, rule.init(), setting)
    assert bool(combined.encoder.isnan().any())
    assert bool(combined.rows.isnan().any())
    assert build_attack("nan", {}).kind == "protocol"
