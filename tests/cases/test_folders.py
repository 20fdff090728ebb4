"""Case 15: a run that is submitted twice is two runs, each in a folder of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from client.app import app as client_app
from common.errors import ConfigError, RunError
from common.settings import Scalar, load, to_flat
from emulation.local_grid import LocalGrid
from server.app import app
from server.records.holding import chosen_folder
from tests.server.federation import config, node


def submitted(*overrides: str, **own: Scalar) -> None:
    """As ``flwr run`` starts the ServerApp."""
    flat: dict[str, Scalar] = {**to_flat(config("train.rounds=1", *overrides), secret=True), **own}
    app(LocalGrid(client_app, [node()]), Context(1, 0, {}, RecordDict(), flat))


@pytest.mark.parametrize("own", [{}, {"out": ""}])
def test_without_a_folder_each_run_has_a_new_one(
    own: dict[str, Scalar], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        submitted(**own)
    found = sorted((tmp_path / "runs").iterdir())
    assert len(found) == 2
    assert all((folder / "summary.json").exists() for folder in found)
    assert all(folder.name.startswith("synthetic-sasrec-mean-no-attack-") for folder in found)


def test_a_folder_that_holds_a_run_is_refused_with_words_that_both_ways_of_submitting_have(
    tmp_path: Path,
) -> None:
    submitted(out=str(tmp_path))
    with pytest.raises(RunError, match="already holds a run") as caught:
        submitted(out=str(tmp_path))
    assert all(word in str(caught.value) for word in ("--resume", "resume=true", "--out", "out="))
    submitted(out=str(tmp_path), resume=True)


def test_nothing_is_resumed_in_a_new_folder() -> None:
    with pytest.raises(ConfigError, match="resume: needs out"):
        submitted(resume=True)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "ml-100k-sasrec-sieve-no-attack"),
        (["data.path=/srv/shards/catalogue.parquet"], "shards-sasrec-sieve-no-attack"),
        (["data.path=shop.csv", "model.name=gru4rec"], "shop-gru4rec-sieve-no-attack"),
        (["strategy.aggregator=median", "attack.name=alie"], "ml-100k-sasrec-median-alie"),
        (["strategy.aggregator=my.rules:Mine"], "ml-100k-sasrec-my.rules-Mine-no-attack"),
    ],
)
def test_a_new_folder_says_what_ran_and_is_new(overrides: list[str], name: str) -> None:
    settings = load(overrides=overrides)
    found = {chosen_folder(settings, "", False) for _ in range(20)}
    assert len(found) == 20
    assert all(re.fullmatch(rf"runs/{re.escape(name)}-\d{{8}}-\d{{6}}-[0-9a-f]{{8}}", one) for one in found)
    assert chosen_folder(settings, "mine", True) == "mine"
