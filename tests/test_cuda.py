"""On a real GPU: the same models as on the CPU, and twice the same bits. Without one this says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from common.device import available, resolve
from common.settings import load
from emulation.federation import federate
from experiments.contracts import aggregators as rounds
from server.aggregators import AGGREGATORS
from tests.attacks.test_runs import BASE
from tests.fake_device import moved
from tests.test_fake_device import alike, two_rounds

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="NOT TESTED ON A GPU: this machine has no CUDA card"
)
CASES = {
    "mean": ["strategy.aggregator=mean"],
    "sieve": ["strategy.aggregator=sieve", "strategy.constraints=[exposure_cap]"],
    "attacked": ["strategy.aggregator=sieve", "attack.name=explicit_boost"],
}


def trained(folder: Path, device: str, *more: str) -> dict[str, torch.Tensor]:
    """The model after 20 rounds."""
    told: list[Any] = [*BASE, "train.rounds=20", "attack.name=none", *more, f"device={device}"]
    summary = federate(load(overrides=told), folder)
    assert summary["device"].startswith(str(resolve(device)))
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_model_is_that_of_the_cpu(case: str, tmp_path: Path) -> None:
    here = trained(tmp_path / "cpu", "cpu", *CASES[case])
    there = trained(tmp_path / "cuda", "cuda", *CASES[case])
    for name, tensor in here.items():
        torch.testing.assert_close(there[name], tensor, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", sorted(CASES))
def test_twice_the_same_on_the_card(case: str, tmp_path: Path) -> None:
    one, other = (trained(tmp_path / name, "cuda", *CASES[case]) for name in "ab")
    for name, tensor in one.items():
        assert torch.equal(other[name], tensor)


@pytest.mark.parametrize("name", sorted(AGGREGATORS))
def test_rules(name: str) -> None:
    all_ = [rounds.make_updates(rounds.N, seed, width=100_000) for seed in (1, 2)]
    expected, _ = two_rounds(AGGREGATORS[name](), all_, None)
    found, _ = two_rounds(AGGREGATORS[name](), all_, torch.device("cuda:0"))
    alike(expected, moved(found, torch.device("cpu")))


def test_auto_takes_the_first_card_and_a_wrong_number_is_refused() -> None:
    assert resolve("auto") == resolve("cuda") == torch.device("cuda:0")
    assert available()[1] == "cuda:0"
