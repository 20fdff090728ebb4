"""The MLflow listener, on a store in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

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
