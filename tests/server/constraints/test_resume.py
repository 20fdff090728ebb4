"""Constraints with a memory: a resumed run is the uninterrupted one, under any rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from server.constraints import CONSTRAINTS
from server.records.checkpoint import FILE
from tests.server.federation import Watch, config, lines, run, same_model
from tests.server.interruption import equal_runs, in_round

ALL = "strategy.constraints=[" + ", ".join(CONSTRAINTS) + "]"


@pytest.mark.parametrize("rule", ["mean", "median", "sieve"])
def test_an_interruption_leaves_no_trace(tmp_path: Path, rule: str) -> None:
    settings = config(f"strategy.aggregator={rule}", ALL, "train.rounds=3", "eval.every=3")
    run(settings, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(settings, tmp_path / "parts", listeners=[Watch(in_round(3))])
    state = load_file(tmp_path / "parts" / "state" / FILE)
    kept = {name.split("/")[2] for name in state if name.startswith("constraints/")}
    assert kept == {
        "way",
        "peak",
        "mean",
        "mass",
        "identity",
        "history",
        "seen",
        "pulled",
        "trained",
        "alike",
        "pairs",
        "made_up",
        "shown",
    }
    run(settings, tmp_path / "parts", resume=True)
    equal_runs(tmp_path / "whole", tmp_path / "parts")
    figures = lines(tmp_path / "whole", "metrics")[0]
    assert all(any(key.startswith(f"{name}.") for key in figures) for name in CONSTRAINTS)


def test_looking_on_changes_nothing(tmp_path: Path) -> None:
    """Limits so wide that nothing is clipped give the model of a run without constraints."""
    wide = (
        "strategy.constraints=[{name: row_trust, factor: 1e6}, {name: variance_floor, least: 0.0}, "
        "{name: popularity_cap, top: 1.0, margin: 0.999}, "
        "{name: exposure_cap, floor: 0.999}]"
    )
    run(config(), tmp_path / "plain")
    run(config(wide), tmp_path / "watched")
    assert same_model(tmp_path / "plain", tmp_path / "watched")
