"""Sixty rounds of a small federation under three attacks: the sieve holds where the plain mean does not.

Golden in that seed, log and limits are fixed: a change of any part of the way from log to model that costs
accuracy or lets an attack through is seen here. The limits leave room for the rounding of another machine,
and not for a lost stage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from common.settings import load
from emulation.federation import federate
from tests.attacks.test_runs import BASE, ndcg

pytestmark = pytest.mark.no_cover  # training under the tracer takes half as long again

Run = Callable[..., dict[str, Any]]
TARGETED = ("label_to_target", "explicit_boost")
ATTACKS = (*TARGETED, "sign_flip")
SIEVES = ("sieve", "sieve+none")  # the whole recipe, and without its constraint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Rule (and a constraint), attack and seed -> summary of its sixty rounds, computed once."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}

    def summary(rule: str, attack: str, seed: int = 1) -> dict[str, Any]:
        key = (rule, attack, seed)
        if key not in found:
            out: Path = tmp_path_factory.mktemp(f"{rule}-{attack}") / "run"
            name, _, constraint = rule.partition("+")
            strategy = [f"strategy.aggregator={name}", *(["strategy.constraints=[]"] if constraint else [])]
            named = ["train.rounds=60", *strategy, f"attack.name={attack}", f"seed={seed}"]
            found[key] = federate(load(overrides=[*BASE, *named]), out) | {"out": out}
        return found[key]

    return summary


def over_seeds(run: Run, rule: str) -> float:
    """NDCG@10 of the clean run in the mean of three seeds: one seed's may be a tenth off."""
    return mean(ndcg(run(rule, "control", seed)) for seed in (1, 2, 3))


def harmed(summary: dict[str, Any], clean: dict[str, Any], attack: str) -> bool:
    """Whether the attack had its way: three in ten users see the target, or a third of the NDCG is gone."""
    return bool(summary["er@10"] > 0.3) if attack in TARGETED else ndcg(summary) < 0.67 * ndcg(clean)


@pytest.mark.parametrize("sieve", SIEVES)
def test_without_an_attack_the_sieve_costs_what_is_known(run: Run, sieve: str) -> None:
    """Over three seeds: one run's share of the mean lies anywhere from 77 to 107 %, that of six at 89 %."""
    kept, clean = (over_seeds(run, rule) for rule in (sieve, "mean"))
    assert clean > 0.3
    assert kept > 0.85 * clean


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_plain_mean_fails(run: Run, attack: str) -> None:
    assert harmed(run("mean", attack), run("mean", "control"), attack)


@pytest.mark.parametrize("sieve", SIEVES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_sieve_holds(run: Run, attack: str, sieve: str) -> None:
    kept = run(sieve, attack)
    assert ndcg(kept) > 0.85 * over_seeds(run, "mean")
    if attack in TARGETED:
        assert kept["er@10"] < 0.15


def test_its_audit_tells_the_sides_apart(run: Run) -> None:
    """Node 2 holds the malicious devices; the mean weight of a device is its trust."""
    lines = (run("sieve", "label_to_target")["out"] / "audit.jsonl").read_text().splitlines()
    weights: dict[int, list[float]] = {1: [], 2: []}
    for line in map(json.loads, lines):
        if "weight" in line and line["round"] > 10:
            weights[line["node"]].append(line["weight"])
    assert len(weights[2]) > 100
    assert mean(weights[2]) < 0.1 * mean(weights[1])
