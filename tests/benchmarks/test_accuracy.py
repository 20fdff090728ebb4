"""Finished runs are used again where they are what is asked for, and refused where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import accuracy
from benchmarks.accuracy import results
from common.config import RunConfig
from common.errors import CheckpointError, ConfigError
from emulation.federation import federate
from tests.server.federation import config

SHORT = ("train.rounds=2", "eval.every=0", "attack.name=label_to_target", "attack.targets=cold")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for rule in ("mean", "fltrust"):
        federate(asked(rule), folder / rule)
    return folder


@pytest.fixture(autouse=True)
def none_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "run_all", lambda *_, **__: pytest.fail("a run was computed"))


def asked(rule: str, *more: str) -> RunConfig:
    return config(*SHORT, f"strategy.aggregator={rule}", *more)


def test_finished_runs_are_not_repeated(out: Path) -> None:
    for rule in ("mean", "fltrust"):
        found = results({rule: asked(rule, "data.name=synthetic", "device=cpu")}, out, Console())
        assert found[rule]["aggregator"] == rule


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("attack.name=sign_flip", "attack.name was 'label_to_target', given 'sign_flip'"),
        ("train.rounds=3", "train.rounds was 2, given 3"),
        ("train.rounds=1", "train.rounds was 2, given 1"),
        ("eval.sample=7", "eval.sample was 0, given 7"),
    ],
)
def test_a_run_with_other_settings_is_refused(out: Path, more: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        results({"mean": asked("mean", more)}, out, Console())
    assert str(refused.value) == (
        f"{out / 'mean'} is a finished run with other settings: {told}; choose another --out"
    )


def test_a_run_on_another_log_is_refused(out: Path) -> None:
    with pytest.raises(CheckpointError, match="mean belongs to a run on other data: .* holds another log$"):
        results({"mean": asked("mean", "data.path='devices=41,items=30,length=8'")}, out, Console())
