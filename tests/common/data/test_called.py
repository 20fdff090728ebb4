"""One name for a log, wherever it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import DataConfig, RunConfig
from common.data.called import log_name
from experiments.compare.labels import data_label
from server.records.holding import folder_name


@pytest.mark.parametrize(
    ("name", "path", "told"),
    [
        ("ml-1m", "", "ml-1m"),
        ("synthetic", "devices=9,items=5", "synthetic"),
        ("ml-100k", "logs/shop.csv", "shop"),
        ("", "logs/shop.csv", "shop"),
        ("mine", "runs/first/log/frame.parquet", "mine"),
        ("ml-100k", "shards/shop/catalogue.parquet", "shop"),
    ],
)
def test_a_log_has_one_name(name: str, path: str, told: str) -> None:
    data = DataConfig(name=name, path=path)
    config = RunConfig(data=data)
    assert log_name(data) == told
    assert data_label(config) == told
    assert folder_name(config, "sieve") == f"{told}-sasrec-sieve-no-attack"


def test_a_catalogue_is_called_as_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    assert log_name(DataConfig(path="catalogue.parquet")) == "shop"
