"""Every attack with every model: what a malicious node sends has the form of an honest reply."""

from __future__ import annotations

import pytest
import torch

from attacks import ATTACKS, build_attack
from common.models import MODELS
from experiments.contracts.attacks import play, rewrites, tampers
from tests.client.samples import model_config, task

MODEL_NAMES = sorted(MODELS)
SOME = [(name, MODEL_NAMES[place % len(MODEL_NAMES)]) for place, name in enumerate(ATTACKS)]
"""Each attack with one model, each model with six attacks or more."""


def acts(name: str, model: str) -> None:
    """A round of the attack, and for some the one before."""
    attack, what = build_attack(name, {}), task(model_config(name=model, dropout=0.0, blocks=1))
    sent = play(attack, what, earlier=True).sent
    assert sent.encoder.shape[1:] == what.model.encoder.shape
    assert sent.rows.shape[2] == what.model_config.dim
    if attack.kind == "protocol":
        return
    if not rewrites(attack):
        assert sent.rows.shape[1] == len(what.items)
    if not tampers(attack):
        assert bool(torch.isfinite(sent.encoder).all())
        assert bool(torch.isfinite(sent.rows).all())


@pytest.mark.parametrize(("name", "model"), SOME)
def test_an_attack_runs_with_a_model(name: str, model: str) -> None:
    acts(name, model)


@pytest.mark.slow
@pytest.mark.deployment
@pytest.mark.parametrize("model", MODEL_NAMES)
def test_every_attack_runs_with_every_model(model: str) -> None:
    for name in ATTACKS:
        if (name, model) not in SOME:
            acts(name, model)
