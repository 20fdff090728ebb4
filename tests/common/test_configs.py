"""The configs of the repository: each one loads, and the defaults are the tuned budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import RunConfig
from common.settings import load

FOLDER = Path(__file__).resolve().parents[2] / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_valid(path: Path) -> None:
    config = load(path)
    assert config.data.name in path.stem or path.stem == "demo"
    assert config.train.slice_size <= 4096


def test_the_defaults_are_the_budget_of_ml_100k_and_defended() -> None:
    plain = load(overrides=["strategy.aggregator=mean"])
    tuned = load(FOLDER / "ml-100k.yaml")
    assert tuned.model_copy(update={"eval": plain.eval}) == plain
    assert RunConfig().strategy.aggregator.name == "sieve"
