"""The MLflow listener, on a store in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError
from experiments import cli
from experiments.mlflow_log import MlflowLog
from tests.server.federation import BASE, config, lines

SETS = [part for item in BASE for part in ("--set", item)]


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedsieve\[mlflow\]'"):
        MlflowLog(config(), "run")
    result = CliRunner().invoke(cli.app, ["run", *SETS, "--mlflow", "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "run").exists()


class Away:
    """A client whose server goes away after ``calls`` calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **__: object) -> Any:
            self.left -= 1
            if self.left < 0:
                raise OSError("connection refused\nand forty more lines")
            return SimpleNamespace(experiment_id="1", info=SimpleNamespace(run_id="2"))

        return call


def fake(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    entities = SimpleNamespace(Metric=lambda *_: None, Param=lambda *_: None)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=lambda: Away(calls)))
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@nobody:1")


def test_a_server_that_is_not_there_is_told_before_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(monkeypatch, calls=0)
    result = CliRunner().invoke(cli.app, ["run", *SETS, "--mlflow", "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "--mlflow: http://nobody:1: connection refused"


def test_a_server_that_goes_away_is_told_once_and_the_run_ends_as_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake(monkeypatch, calls=4)  # experiment, run, settings, and one round
    result = CliRunner().invoke(cli.app, ["run", *SETS, "--mlflow", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "summary.json").exists()
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("mlflow: ")]
    (line,) = told
    assert line.startswith("mlflow: http://nobody:1: connection refused; the run goes on")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_run_is_there_with_its_settings_and_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    out = tmp_path / "run"
    result = CliRunner().invoke(cli.app, ["run", *SETS, "--mlflow", "--out", str(out)])
    assert result.exit_code == 0, result.output
    client = mlflow.MlflowClient()
    place = client.get_experiment_by_name("fedsieve").experiment_id
    (found,) = client.search_runs([place])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params["train.rounds"] == "4"
    written = [line for line in lines(out, "metrics") if "split" not in line]
    history = client.get_metric_history(found.info.run_id, "round/update_norm")
    assert [(m.step, m.value) for m in history] == [(line["round"], line["update_norm"]) for line in written]
    test = next(line for line in lines(out, "metrics") if line.get("split") == "test")
    assert found.data.metrics["test/ndcg_at_10"] == test["ndcg@10"]
