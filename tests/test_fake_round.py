"""A whole run in one process on a device that is not there: the CPU's model, no copy within a round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import client.app
import client.node_settings
import client.ranking
import server.app
import server.strategy
from common.settings import load
from emulation.federation import federate
from server.strategy import RobustStrategy
from tests.attacks.test_runs import BASE
from tests.fake_device import DEVICE, FakeDevice, fake_device, on_host

ROUNDS = 3


NAMED = {
    "server/round/drawing.py:draw_round": "the popularity that a slice is drawn by",
    "server/round/admission.py": "numbers, counts and claims of devices, for the audit",
    "server/round/faults.py": "who is refused and why, for the audit",
    "server/round/verdicts.py:text": "weights, for the audit",
    "common/updates.py:take": "which devices stay: the numbers of their slices are on the CPU",
    "server/aggregators/memory.py:take": "who is believed, and who is new",
    "client/targets.py:slice_of": "the slices: who has nothing to predict in them is no work for the device",
    "server/round/evidence.py:trusted_updates": "who is believed",
    "server/constraints/encoder.py:__call__": "norms of the blocks of a step, a number each",
    "common/probes.py:made_up": "the rates that first loves are drawn by",
    "attacks/": "what an attacker looks up on its own side",
}
"""All that goes to the CPU within a round, and what for."""


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    """Server and nodes on the device; local training and ranking, where they are not yet ours, beside it."""
    for module in (server.app, server.strategy, client.node_settings):
        monkeypatch.setattr(module, "resolve", lambda name, setting="": DEVICE)
    rank = client.ranking.evaluate
    monkeypatch.setattr(
        client.app, "rank_devices", lambda model, parameters, *rest: rank(model, on_host(parameters), *rest)
    )
    client.node_settings._read.cache_clear()
    with fake_device() as device:
        yield device
    client.node_settings._read.cache_clear()


def settings(*more: str) -> Any:
    return load(overrides=[*BASE, f"train.rounds={ROUNDS}", *more])


def model(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


CASES = {
    "mean": ["strategy.aggregator=mean", "attack.name=none"],
    "sieve": ["strategy.aggregator=sieve", "strategy.constraints=[exposure_cap]", "attack.name=none"],
    "attacked": [
        *("strategy.aggregator=sieve", "strategy.constraints=[exposure_cap, row_trust, encoder_step]"),
        *("attack.name=explicit_boost", "strategy.optimizer=block_adam"),
    ],
    "slices": [
        *("strategy.aggregator=sieve", "strategy.constraints=[exposure_cap]", "attack.name=explicit_boost"),
        *("train.slices=3", "train.slice_size=8"),
    ],
    "float32": ["strategy.aggregator=krum", "wire.dtype=float32", "attack.name=sign_flip"],
    "parts": ["strategy.aggregator=mean", "attack.name=none", "wire.reply_mb=0.03"],
    "device": ["strategy.aggregator=union", "train.negatives=device", "attack.name=none"],
    "trusted": ["strategy.aggregator=fltrust", "attack.name=label_to_target"],
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_runs(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    config = settings(*CASES[case])
    federate(config, tmp_path / "cpu")
    device: FakeDevice = request.getfixturevalue("on_device")
    inside: dict[str, int] = {}
    step = RobustStrategy.round

    def counted(*given: Any) -> Any:
        before = device.copies.copy()
        try:
            return step(*given)
        finally:
            for place, count in (device.copies - before).items():
                inside[place] = inside.get(place, 0) + count

    monkeypatch.setattr(RobustStrategy, "round", counted)
    summary = federate(config, tmp_path / "device")
    assert summary["device"] == str(DEVICE)
    assert f"; on {DEVICE}" in summary["protocol"]
    here, there = model(tmp_path / "cpu"), model(tmp_path / "device")
    for name, tensor in here.items():
        torch.testing.assert_close(there[name], tensor, rtol=1e-4, atol=1e-4)
    strange = {place: count for place, count in inside.items() if not place.startswith(tuple(NAMED))}
    assert not strange, strange


def test_a_run_goes_on_on_another_device(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    more = ["strategy.aggregator=sieve", "strategy.constraints=[exposure_cap]", "checkpoint_every=1"]
    whole = settings(*more)
    federate(whole, tmp_path / "cpu")

    class Stop(Exception):
        pass

    class Listener:
        def on_round(self, report: Any, state: Any) -> None:
            if report.round == 2:
                raise Stop

        def on_evaluation(self, evaluation: Any) -> None:
            pass

    with pytest.raises(Stop):
        federate(whole, tmp_path / "both", listeners=[Listener()])
    request.getfixturevalue("on_device")
    federate(whole.model_copy(update={"device": "cuda:0"}), tmp_path / "both", resume=True)
    for name, tensor in model(tmp_path / "cpu").items():
        torch.testing.assert_close(model(tmp_path / "both")[name], tensor, rtol=1e-4, atol=1e-4)
