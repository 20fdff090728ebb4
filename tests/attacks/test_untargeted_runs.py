"""Small real federations: what each untargeted attack does to the plain mean, and why some do little."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attacks import ATTACKS
from common.settings import load
from emulation.federation import federate
from tests.attacks.test_runs import BASE, ndcg, refused

pytestmark = pytest.mark.no_cover  # training under the tracer takes half as long again

HARMFUL = {
    "alie": ({"z": 3.0}, 0.9),
    "cluster_attack": ({}, 0.95),
    "fang_krum": ({}, 0.96),
    "fang_trmean": ({}, 0.5),
    "fed_attack": ({}, 0.9),
    "ipm": ({}, 0.4),
    "mimic": ({}, 0.93),
    "min_max": ({}, 0.8),
    "min_sum": ({}, 0.85),
    "same_value": ({}, 0.8),
    "spattack": ({}, 0.75),
}
"""Attack -> its parameters, and the largest share of the clean NDCG@10 that may be left."""

HARMLESS = {
    "alie": "z is about .3 for one in five of 64: it is to pass a median, and a fifth of .3 σ moves no mean",
    "false_witness": "it is after a constraint, and each row moves by no more than an honest one",
    "random_labels": "the pulls of uniform labels cancel over the attackers, and the true ones outweigh them",
    "scaling": "the direction is honest: the mean is that of fewer users, and Adam ignores its length",
    "zero": "admission leaves a device that sends only zeros out as idle",
}
"""Attack -> why it does little under the plain mean and a server that steps with Adam."""

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Attack and parameters -> summary; ``control`` is the clean run on the same users."""
    found: dict[str, dict[str, Any]] = {}

    def summary(name: str, **params: object) -> dict[str, Any]:
        key = f"{name}{params}"
        if key not in found:
            out: Path = tmp_path_factory.mktemp(name) / "run"
            named = [f"attack.name={name}", f"attack.params={json.dumps(params)}", "train.rounds=25"]
            found[key] = federate(load(overrides=[*BASE, *named]), out) | {"out": out}
        return found[key]

    return summary


def test_every_untargeted_attack_on_the_model_is_measured() -> None:
    elsewhere = {"sign_flip", "gaussian"}  # test_runs.py
    untargeted = {n for n, a in ATTACKS.items() if a.goal == "untargeted" and a.kind in ("model", "data")}
    assert untargeted == HARMFUL.keys() | HARMLESS.keys() | elsewhere
    assert all(HARMLESS.values())


@pytest.mark.parametrize("name", sorted(HARMFUL))
def test_it_cuts_the_quality_of_a_plain_mean(run: Run, name: str) -> None:
    params, left = HARMFUL[name]
    attacked = run(name, **params)
    assert ndcg(attacked) < left * ndcg(run("control"))
    assert not refused(attacked["out"])


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_it_does_little_to_a_plain_mean(run: Run, name: str) -> None:
    attacked = run(name)
    assert ndcg(attacked) > 0.8 * ndcg(run("control"))
    assert not refused(attacked["out"])


def test_spattack_o_takes_the_learning_out_of_the_rows(run: Run) -> None:
    assert ndcg(run("spattack", mode="o")) < 0.95 * ndcg(run("control"))
