"""``fedsieve data``, run as the command line runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.data import load
from common.errors import ConfigError, DataError, UnknownName
from experiments.data_cli import app


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSIEVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEDSIEVE_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")


def call(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_list_says_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache" / "ml-1m").mkdir(parents=True)
    (tmp_path / "cache" / "ml-1m" / "ml-1m.zip").touch()
    (tmp_path / "lastfm.txt").touch()
    monkeypatch.setenv("FEDSIEVE_DATA", str(tmp_path))
    rows = {row["name"]: row for row in json.loads(call("list", "--json"))}
    assert {name: row["where"].split(";")[0] for name, row in rows.items()} == {
        "ml-100k": "not here",
        "ml-1m": "cached",
        "amazon-beauty": "not here",
        "lastfm": "FEDSIEVE_DATA",
        "synthetic": "generated",
    }
    assert rows["ml-100k"]["interactions"] == 100_000
    table = call("list")
    assert "1,000,209" in table
    assert all(name in table for name in rows)


def test_stats_of_a_recipe() -> None:
    told = json.loads(call("stats", "synthetic", "--path", "devices=5,items=30,length=6", "--json"))
    assert (told["name"], told["users"], told["items"], told["tied_ends"]) == ("synthetic", 5, 30, 0.0)


def test_stats_table_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("1 a b a\n2 c\n")
    table = call("stats", str(tmp_path / "mine.txt"))
    assert "mine (mine.txt)" in table
    assert "no time stamps" in table
    assert "50.000%" not in table
    assert "66.667%" in table  # 4 of 2 · 3


def test_split_then_stats(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        told = call("split", "synthetic", "--nodes", "3", "--out", str(tmp_path / "shards"))
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "shards").glob("node-*")} == {0o600}
    assert "200 devices of synthetic in 3 logs" in told
    parts = [load("", str(tmp_path / "shards" / f"node-00{k}.parquet")) for k in range(3)]
    assert sorted(n for part in parts for n in part.devices.tolist()) == list(range(1, 201))
    assert "67" in call("stats", str(tmp_path / "shards" / "node-000.parquet"))


def test_get_of_what_is_generated() -> None:
    assert "200 users, 120 items" in call("get", "synthetic")


def test_get_of_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lastfm.txt").write_text("1 2 3\n")
    monkeypatch.setenv("FEDSIEVE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="sha256 mismatch"):
        call("get", "lastfm")


def test_errors_reach_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown data set 'nope'"):
        call("stats", "nope")
    with pytest.raises(ConfigError, match="expected 1 to 200"):
        call("split", "synthetic", "--nodes", "201", "--out", str(tmp_path))
    with pytest.raises(DataError, match="No such file"):
        call("stats", str(tmp_path / "none.csv"))
