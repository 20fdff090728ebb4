"""``fedsieve.run``: every way to say what to run, and what comes back."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import fedsieve
from common.data import load
from common.settings import to_tree
from experiments import progress
from experiments.cli import call
from experiments.trained import open_run
from tests.experiments.trained_run import log
from tests.fedsieve.samples import LOG, SMALL, small


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> fedsieve.Result:
    folder = tmp_path_factory.mktemp("library")
    return small(log(folder), out=folder / "run", attack="label_to_target", aggregator="sieve")


def test_metrics_are_flat_and_those_of_the_summary(result: fedsieve.Result) -> None:
    accuracy = ["hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr"]
    assert list(result.metrics)[:7] == accuracy
    assert {name: result.metrics[name] for name in accuracy} == {
        name: result.summary["test"][name] for name in accuracy
    }
    assert result.metrics["er@10"] == result.summary["er@10"]
    assert repr(result.metrics).startswith(f"{{'hr@5': {result.metrics['hr@5']:.4f}, 'hr@10': ")


def test_the_history_has_a_row_a_round(result: fedsieve.Result) -> None:
    history = result.history
    assert history["round"].to_list() == [1, 2, 3, 4]
    assert history["valid.ndcg@10"].is_null().to_list() == [True, False, True, False]
    assert history["test.mrr"].to_list() == [None, None, None, result.metrics["mrr"]]
    assert history["asked"].to_list() == [16.0] * 4


def test_the_audit_has_a_row_a_device_and_round(result: fedsieve.Result) -> None:
    training = result.audit.filter(pl.col("evaluation").is_null() & pl.col("device").is_not_null())
    assert training.group_by("round").len().sort("round")["len"].to_list() == [16] * 4
    sums = training.group_by("round").agg(pl.col("weight").sum()).sort("round")["weight"]
    assert sums.to_list() == pytest.approx([1.0] * 4)
    assert result.audit.schema["node"] == pl.UInt64
    written = list(map(json.loads, (result.folder / "audit.jsonl").read_text().splitlines()))
    assert {name for line in written for name in line} <= set(result.audit.columns)
    assert training["user"].to_list() == [line["user"] for line in written if line["device"] is not None]


def test_recommendations_are_in_the_words_of_the_log(result: fedsieve.Result) -> None:
    history = ["i105", "i109", "i102"]
    scores = open_run(result.folder).scores(np.array([5, 9, 2], dtype=np.int32))
    expected = [i for i in np.argsort(-scores[1:].numpy(), kind="stable") + 1 if i not in (5, 9, 2)]
    found = result.recommend(history, k=4)
    assert found.columns == ["rank", "item", "title", "score"]
    assert found["item"].to_list() == [f"i{100 + i}" for i in expected[:4]]
    assert found["rank"].to_list() == [1, 2, 3, 4]
    assert result.recommend(history, k=99, with_seen=True).height == 30
    with pytest.raises(fedsieve.ConfigError, match=r"history: no item 'i999' in log; valid: .*i1\d\d"):
        result.recommend(["i999"])
    with pytest.raises(fedsieve.ConfigError, match="history is empty"):
        result.recommend([])


def test_the_model_scores_as_the_run_did(result: fedsieve.Result) -> None:
    model = result.model
    histories = torch.tensor([[0, 0, 5, 9, 2], [3, 1, 4, 8, 7]])
    scores = model(histories)
    assert scores.shape == (2, 31)
    trained = open_run(result.folder)
    for row, history in zip(scores, histories, strict=True):
        seen = history[history > 0].numpy().astype(np.int32)
        torch.testing.assert_close(row, trained.scores(seen), rtol=1e-4, atol=1e-5)
    long = torch.arange(1, 21)[None]
    torch.testing.assert_close(model(long), model(long[:, -8:]))  # max_len
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_it_shows_itself(result: fedsieve.Result) -> None:
    text = repr(result)
    assert text.startswith("Result(sasrec on log, sieve; 4 rounds, seed 0, label_to_target on 20%")
    assert len(text.splitlines()) == 3
    assert f"NDCG@10 {result.metrics['ndcg@10']:.4f}" in text
    page = result._repr_html_()
    assert "<th>NDCG@10</th>" in page
    assert f"<td>{result.metrics['mrr']:.4f}</td>" in page
    assert result.report.read_text().startswith("<!doctype html>")


def test_a_run_on_a_file_says_the_file(tmp_path: Path) -> None:
    """At the command line a file leaves ``data.name`` as it was."""
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SMALL.items() if key != "data.path"]
    settings += [f"--set=data.path={log(tmp_path)}", "--set=train.rounds=1", f"--out={tmp_path / 'run'}"]
    assert call(["run", *settings]) == 0
    found = fedsieve.load_result(tmp_path / "run")
    assert found.config.data.name == "ml-100k"
    assert repr(found).startswith("Result(sasrec on log, sieve; 1 round,")
    assert found.plot().layout.title.text == "sasrec on log, sieve"


def test_a_log_shows_itself_in_a_line(tmp_path: Path) -> None:
    shown = repr(fedsieve.load_log(log(tmp_path)))
    assert shown == "Dataset(log: 40 users, 30 items, 337 interactions, times)"
    found = fedsieve.load_log(log(tmp_path), order="file", columns={"user": "user", "item": "item"})
    assert repr(found).endswith("interactions, no times)")


def test_the_plot_has_accuracy_and_exposure(result: fedsieve.Result) -> None:
    figure = result.plot()
    drawn = {(trace.name, trace.xaxis): list(trace.x) for trace in figure.data}
    assert drawn == {("valid", "x"): [2, 4], ("test", "x"): [4], ("valid", "x2"): [2, 4], ("test", "x2"): [4]}
    assert [one.text for one in figure.layout.annotations] == ["NDCG@10", "ER@10"]


def test_a_finished_run_is_loaded_again(result: fedsieve.Result, tmp_path: Path) -> None:
    again = fedsieve.load_result(str(result.folder))
    assert again.metrics == result.metrics
    assert again.config == result.config
    with pytest.raises(fedsieve.RunError, match="no finished run"):
        fedsieve.load_result(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(fedsieve.CheckpointError, match=r"summary\.json is damaged"):
        fedsieve.load_result(tmp_path)


def test_a_run_that_was_interrupted_is_not_loaded_and_says_how_to_go_on(
    result: fedsieve.Result, tmp_path: Path
) -> None:
    shutil.copy(result.folder / "config.yaml", tmp_path)
    told = f"^the run in {tmp_path} is not finished: fedsieve run --resume --out {tmp_path}$"
    with pytest.raises(fedsieve.RunError, match=told):
        fedsieve.load_result(tmp_path)
    (tmp_path / "recipe.json").touch()
    with pytest.raises(fedsieve.RunError, match="such a run begins anew"):
        fedsieve.load_result(tmp_path)


def test_a_run_of_one_s_own_folder_goes_on_and_is_not_overwritten(result: fedsieve.Result) -> None:
    folder = result.folder
    with pytest.raises(fedsieve.RunError, match="already holds a run"):
        fedsieve.run(result.config, out=folder)
    assert fedsieve.run(result.config, out=folder, resume=True).metrics == result.metrics


def test_a_log_by_name_path_dataset_and_config_is_the_same_run(tmp_path: Path) -> None:
    dataset = load("synthetic", LOG)
    path = tmp_path / "clicks.csv"
    rows = [
        (u, i, t) for u, s in zip(dataset.devices, dataset.sequences, strict=True) for t, i in enumerate(s)
    ]
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_csv(path)
    found = fedsieve.load_log(path)
    assert len(found) == 40
    by_path, by_name, by_dataset = small(path), small("synthetic"), small(dataset)
    assert by_path.config.data.name == "clicks"
    assert by_dataset.config.data.name == "synthetic-log"
    by_config = fedsieve.run(by_name.config)
    assert by_name.metrics == by_config.metrics == by_dataset.metrics
    assert small(found).metrics == by_path.metrics  # whose items have other numbers
    assert small(found).recommend([dataset.item_ids[2]], k=2).height == 2


def test_a_dataset_takes_an_attack_and_its_folder_no_other_log(tmp_path: Path) -> None:
    dataset, other = load("synthetic", LOG), load("synthetic", LOG + ",seed=1")
    first = small(dataset, out=tmp_path / "run", attack="label_to_target")
    assert first.metrics["er@10"] >= 0
    assert (
        small(dataset, out=tmp_path / "run", attack="label_to_target", resume=True).metrics == first.metrics
    )
    with pytest.raises(fedsieve.RunError, match="holds a run on another log"):
        small(other, out=tmp_path / "run", attack="label_to_target", resume=True)
    foreign = small(out=tmp_path / "foreign")
    held = sorted(foreign.folder.rglob("*"))
    for resume in (False, True):
        with pytest.raises(fedsieve.RunError, match="holds something else"):
            small(dataset, out=foreign.folder, resume=resume)
    assert sorted(foreign.folder.rglob("*")) == held
    with pytest.raises(fedsieve.ConfigError, match=r"data\.path: the log is given as a Dataset"):
        small(dataset, settings={"data.path": "x.csv"})


def test_a_shipped_config_is_run_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name is a log; that of a config is told what to do, and ml-100k is both."""
    monkeypatch.chdir(tmp_path)
    told = "log: 'demo' is no log but a config; fedsieve.run(fedsieve.load_config('demo')) runs it"
    for use in (fedsieve.run, fedsieve.load_log):
        with pytest.raises(fedsieve.ConfigError) as error:
            use("demo")
        assert str(error.value) == told
    with pytest.raises(fedsieve.ConfigError, match="unknown config 'demoo': did you mean 'demo'"):
        fedsieve.load_config("demoo")
    demo = fedsieve.load_config("demo")
    assert (demo.data.name, demo.strategy.aggregator.name, demo.attack.name) == (
        "ml-100k",
        "sieve",
        "label_to_target",
    )
    assert fedsieve.load_config("ml-100k").strategy.aggregator.name == "mean"
    made_up = {"data.name": "synthetic", "data.path": LOG, "model.dim": 4, "train.slice_size": 20}
    found = fedsieve.run(demo, rounds=1, devices=16, settings=made_up)
    assert found.config.strategy == demo.strategy


def test_settings_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "data: {name: synthetic, path: 'devices=40,items=30,length=8'}\nmodel: {dim: 4, max_len: 8}\n"
    )
    found = fedsieve.run(file, rounds=1, **{"train.local_steps": 2})
    assert (found.config.train.rounds, found.config.train.local_steps) == (1, 2)
    assert found.config.model.dim == 4


def test_a_folder_of_its_own_goes_with_the_result() -> None:
    found = small()
    folder = found.folder
    assert (folder / "report.html").exists()
    del found
    gc.collect()
    assert not folder.exists()


def test_a_run_that_fails_leaves_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(fedsieve.UnknownName, match="unknown aggregator 'krumm'"):
        small(aggregator="krumm")
    with pytest.raises(
        fedsieve.ConfigError, match="aggregator 'builtins:object': expected a class that derives"
    ):
        small(aggregator=object())
    assert list(tmp_path.iterdir()) == []


def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small()
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    small()
    assert "rounds" in capfd.readouterr().out
    small(progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_notebook_without_widgets_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Notebook:
        is_terminal, is_jupyter = False, True

    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    monkeypatch.setattr(progress, "Progress", lambda *columns, disable, console: Disabled(disable))

    class Disabled:
        def __init__(self, disable: bool) -> None:
            self.disable = disable

        def add_task(self, *_: Any, **__: Any) -> int:
            return 0

    bar = progress.Bar("x", 1, Notebook())  # type: ignore[arg-type]
    assert bar._progress.disable is True
    monkeypatch.setattr(progress, "find_spec", lambda name: object())
    assert progress.Bar("x", 1, Notebook())._progress.disable is False  # type: ignore[arg-type]


def test_from_an_empty_folder(tmp_path: Path) -> None:
    root = str(Path(fedsieve.__file__).parents[1])
    told = subprocess.run(
        [sys.executable, "-c", "import fedsieve; print(fedsieve.run('synthetic', rounds=3).metrics)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("{'hr@5': 0.")
    assert told.stdout.count("\n") == 1
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor_")]
    assert left == []  # the result's folder went with the process; torch keeps a cache of its own there


def test_a_config_keeps_its_secret(tmp_path: Path) -> None:
    first = small(settings={"strategy.secret": "mine"})
    assert small(settings={"strategy.secret": "other"}).metrics != first.metrics
    config = fedsieve.RunConfig.model_validate(
        {**to_tree(first.config), "strategy": {**to_tree(first.config)["strategy"], "secret": "mine"}}
    )
    assert fedsieve.run(config, seed=0).metrics == first.metrics
