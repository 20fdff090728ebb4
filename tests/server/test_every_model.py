"""Every rule with every model: two rounds of a small federation under attack, and the model moves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common.models import MODELS
from emulation.federation import federate
from server.aggregators import AGGREGATORS
from tests.server.federation import Watch, config

NAMES = sorted(MODELS)
PAIRS = [(rule, model) for rule in AGGREGATORS for model in NAMES]
SOME = [(rule, NAMES[place % len(NAMES)]) for place, rule in enumerate(AGGREGATORS)]
"""Each rule with one model, each model with three rules or more."""


def trains(rule: str, model: str, out: Path) -> None:
    """Nothing is refused but what the rule itself leaves out, and what it combines is finite and not 0."""
    changes = ("train.rounds=2", "eval.every=0", "checkpoint_every=0", "data.public=4", "attack=sign_flip")
    changes += ("strategy.byzantine=0.1",)  # of 16 devices 2, which every rule can bear
    watch = Watch()
    settings = config(f"strategy.aggregator={rule}", f"model={model}", *changes)
    summary = federate(settings, out, listeners=[watch])
    assert [report.why for report in watch.rounds] == ["", ""]
    found = load_file(out / "model.safetensors")
    assert all(bool(torch.isfinite(part).all()) for part in found.values())
    assert 0 <= summary["test"]["ndcg@10"] <= 1
    assert (summary["model"], summary["aggregator"]) == (model, rule)


@pytest.mark.parametrize(("rule", "model"), SOME)
def test_a_rule_runs_with_a_model(rule: str, model: str, tmp_path: Path) -> None:
    trains(rule, model, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.deployment
@pytest.mark.parametrize("model", NAMES)
def test_every_rule_runs_with_every_model(model: str, tmp_path: Path) -> None:
    for rule, other in PAIRS:
        if other == model and (rule, model) not in SOME:
            trains(rule, model, tmp_path / rule)
