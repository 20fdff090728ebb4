"""Small real federations under the plain mean: which promotion attacks bring their target to the users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attacks import ATTACKS
from common.settings import load
from emulation.federation import federate
from tests.attacks.test_runs import BASE, refused

pytestmark = pytest.mark.no_cover  # training under the tracer takes half as long again

SETTINGS = (*BASE, "strategy.lr=2e-2", "train.slice_size=60", "seed=4")
"""A cold row has 40 rounds to climb: it is trained in most of them, and with longer steps.

With 98 users and one target chance is large: over seeds 1 to 6, PIECK-IPE brings 0 to 18 %, PSMU 0 to 7 %,
the adaptive attack in its mode ``spread`` 3 to 20 %.
"""

GROUP = 41
"""An item that 37 of the 128 devices hold."""

LITTLE_OR_MUCH = 0.06
"""Exposure beyond the clean run's that tells those that work from those that do not, at this seed."""

WORKING = (
    "random_shilling",
    "popular_shilling",
    "bandwagon",
    "segment",
    "covisitation",
    "pieck_ipe",
    "pieck_uea",
    "poison_frs",
    "pip_attack",
    "fed_rec_attack",
    "dv_fsr",
    "adaptive",
    "parity",
)
LITTLE = {
    "a_ra": "users drawn at random share no direction: their pushes cancel over devices and rounds",
    "a_hum": "behind an inner product the hardest user is the target's row reversed: it shrinks",
    "psmu": "users who like random items share no direction either",
}
"""Attack -> why its target rises little with an inner product for a score; test_promotion.py shows each."""

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Attack and its parameters -> summary of the run; the clean run is computed once."""
    found: dict[str, dict[str, Any]] = {}

    def summary(name: str, params: str = "{}", *more: str) -> dict[str, Any]:
        key = " ".join((name, params, *more))
        if key not in found:
            out: Path = tmp_path_factory.mktemp(name)
            settings = [*SETTINGS, f"eval.group={GROUP}", f"attack.name={name}", f"attack.params={params}"]
            found[key] = federate(load(overrides=[*settings, *more]), out) | {"out": out}
        return found[key]

    return summary


@pytest.mark.parametrize("name", WORKING)
def test_the_target_reaches_the_users(run: Run, name: str) -> None:
    clean, attacked = run("control"), run(name)
    assert clean["er@10"] < 0.05
    assert attacked["er@10"] > clean["er@10"] + LITTLE_OR_MUCH
    assert not refused(attacked["out"])


def test_every_promotion_is_measured() -> None:
    elsewhere = {"label_to_target", "explicit_boost"}  # test_runs.py
    elsewhere |= {"subgroup"}  # test_a_subgroup_gets_the_target_before_others
    targeted = {name for name, rule in ATTACKS.items() if rule.goal == "targeted"}
    assert targeted == {*WORKING, *LITTLE, *elsewhere}


@pytest.mark.parametrize("name", sorted(LITTLE))
def test_the_target_reaches_few(run: Run, name: str) -> None:
    attacked = run(name)
    assert attacked["er@10"] < run("control")["er@10"] + LITTLE_OR_MUCH
    assert not refused(attacked["out"])  # it is the mean that forgets it, not the gate that stops it


@pytest.mark.parametrize("part", ["explicit", "implicit"])
def test_either_part_of_dv_fsr_works_alone(run: Run, part: str) -> None:
    assert run("dv_fsr", f"{{part: {part}}}")["er@10"] > run("control")["er@10"] + 0.15


def test_a_subgroup_gets_the_target_before_others(run: Run) -> None:
    """Under ``adaptive`` all users get it alike; who holds others down less reaches more of the group."""
    parity, adaptive = run("parity"), run("adaptive")
    half, none = (run("subgroup", f"{{group: {GROUP}, apart: {apart}}}") for apart in (0.5, 0))
    assert run("control")["er_group@10"] < 0.05
    assert max(half["er_group@10"], none["er_group@10"]) > parity["er_group@10"] + 0.1
    assert half["er_group@10"] / half["er@10"] > adaptive["er_group@10"] / adaptive["er@10"] + 0.1
    assert not refused(half["out"])


@pytest.mark.parametrize("mode", ["encoder", "last_position", "spread"])
def test_every_adaptive_attack_works_under_the_plain_mean(run: Run, mode: str) -> None:
    attacked = run("adaptive", f"{{mode: {mode}}}")
    assert attacked["er@10"] > run("control")["er@10"] + (0.02 if mode == "spread" else 0.3)
    assert not refused(attacked["out"])


@pytest.mark.parametrize("name", ["adaptive", "pieck_ipe", "pieck_uea", "poison_frs", "pip_attack"])
def test_moving_one_row_costs_the_others_nothing(run: Run, name: str) -> None:
    assert run(name)["test"]["ndcg@10"] > 0.9 * run("control")["test"]["ndcg@10"]
