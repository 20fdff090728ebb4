"""``fedsieve data``, run as the command line runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.data import DATASETS, load
from common.errors import ConfigError, DataError, UnknownName
from common.settings import load as settings_of
from emulation.federation import open_log
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
    where = {name: row["where"].split(";")[0] for name, row in rows.items()}
    assert where == dict.fromkeys(DATASETS, "not here") | {
        "ml-1m": "cached",
        "lastfm": "FEDSIEVE_DATA",
        "synthetic": "generated",
    }
    assert rows["yelp"]["where"] == "not here; by hand, `get` says how"
    assert rows["yelp"]["files"] == [
        {"file": "yelp_academic_dataset_review.json", "from": "by hand", "hash": "unknown"}
    ]
    assert rows["ml-20m"]["files"][1]["hash"] == "md5:cd245b17a1ae2cc31bb14903e1204af3"
    assert rows["ml-100k"]["interactions"] == 100_000
    table = call("list")
    assert "1,000,209" in table
    assert all(name in table for name in rows)
    assert "GroupLens: research" in table


def test_get_without_a_connection_says_what_to_do_by_hand() -> None:
    with pytest.raises(DataError) as caught:
        call("get", "yelp")
    assert "\n" not in str(caught.value)
    assert "get yelp_academic_dataset_review.json from https://business.yelp.com/" in str(caught.value)
    assert "/cache/yelp" in str(caught.value)


def test_get_of_a_log_without_a_known_hash_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
    )
    monkeypatch.setenv("FEDSIEVE_DATA", str(tmp_path))
    told = call("get", "retailrocket")
    assert "1 user, 1 item, hash unknown, its counts were published as 1,407,580 users" in told
    assert "usual settings: --set data.events=[view] --set data.min_user=5" in told


def test_stats_of_a_recipe() -> None:
    told = json.loads(call("stats", "synthetic", "--path", "devices=5,items=30,length=6", "--json"))
    assert (told["name"], told["users"], told["items"], told["tied_ends"]) == ("synthetic", 5, 30, 0.0)
    early, late = told["cut_times"]
    assert early < late
    assert "eval.times of" in call("stats", "synthetic", "--path", "devices=5,items=30,length=6")


def test_stats_show_the_times_of_a_split_whole(tmp_path: Path) -> None:
    lines = [f"u{k % 2},i{k},{1_600_000_000 + 100 * k}\n" for k in range(10)]
    (tmp_path / "mine.csv").write_text("user,item,time\n" + "".join(lines))
    assert "1600000700, 1600000800" in call("stats", str(tmp_path / "mine.csv"))


def test_stats_table_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("1 a b a\n2 c\n")
    table = call("stats", str(tmp_path / "mine.txt"))
    assert "mine (mine.txt)" in table
    assert "no time stamps" in table
    assert "eval.times" not in table
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


CASE = "who,item,rating,date\n" + "".join(
    f"0{u},film {n},{n % 5 + 1},2024-01-0{9 - n}\n" for u in range(1, 5) for n in range(5)
)


def test_check_says_what_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(CASE + "01,film 4,5,2024-01-05\n")
    words = ("check", str(path), "--set", "data.columns.user=who", "--set", "data.min_rating=2")
    told = json.loads(call(*words, "--json"))
    assert told["columns"] == {"user": "who", "item": "item", "time": "date", "rating": "rating"}
    assert told["order"] == "by date (s), 2024-01-05 00:00:00 to 2024-01-08 00:00:00"
    assert (told["rows"], told["dropped"]) == (21, {"data.min_rating": 4, "data.duplicates": 1})
    assert (told["users"], told["items"], told["evaluated"]) == (4, 4, 4)
    assert told["sequences"][0] == {"user": "01", "items": ["film 4", "film 3", "film 2", "film 1"]}
    assert [one["user"] for one in told["sequences"]] == ["01", "02", "03"]
    table = call(*words)
    for text in (
        "fields separated by commas",
        "dropped by data.min_rating",
        "4 (19.0%)",
        "film 4, film 3, film 2",
    ):
        assert text in table


@pytest.mark.parametrize(
    ("text", "settings", "warning"),
    [
        (
            "user,item,time\nNaN,1,1\nNaN,2,2\nNaN,3,3\n",
            [],
            "'NaN': the id of a user looks like a missing value",
        ),
        (
            "user,item,time\nu,1,1\nu,None,2\nu,3,3\n",
            [],
            "'None': the id of an item looks like a missing value",
        ),
        ("user,item\n1,a\n1,b\n1,c\n", ["data.order=file"], "the order of the file is taken for time"),
        ("user,item,time\n1,a,1\n1,b,2\n1,a,3\n", [], "100% of the test answers recur"),
    ],
)
def test_check_warns(tmp_path: Path, text: str, settings: list[str], warning: str) -> None:
    (tmp_path / "mine.csv").write_text(text)
    told = call("check", str(tmp_path / "mine.csv"), *(word for one in settings for word in ("--set", one)))
    assert f"warning: {warning}" in told


@pytest.mark.parametrize(
    ("settings", "longest"), [([], " has 2"), (["data.max_length=1"], " of data.max_length=1 has 1")]
)
def test_check_refuses_a_log_on_which_nobody_can_be_evaluated_as_a_run_does(
    tmp_path: Path, settings: list[str], longest: str
) -> None:
    log = tmp_path / "mine.csv"
    log.write_text("user,item,time\n1,a,1\n1,b,2\n")
    words = [word for one in settings for word in ("--set", one)]
    for as_json in ([], ["--json"]):
        with pytest.raises(DataError) as caught:
            CliRunner().invoke(app, ["check", str(log), *words, *as_json], catch_exceptions=False)
    with pytest.raises(DataError) as of_run:
        open_log(settings_of(overrides=[f"data.path={log}", *settings]))
    assert str(caught.value) == str(of_run.value)
    assert str(caught.value).endswith(f"and the longest history{longest}")


@pytest.mark.parametrize("name", ["log.xlsx", "log.feather", "some/log", "log.csv.zst", "log.tar"])
def test_an_ending_that_is_not_read_says_which_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    for command in ("stats", "check"):
        with pytest.raises(DataError, match=r"unknown ending .*\.csv, \.tsv, \.parquet.*\.gz"):
            CliRunner().invoke(app, [command, str(path)], catch_exceptions=False)


def test_settings_of_data_alone() -> None:
    with pytest.raises(ConfigError, match="train.rounds: expected a setting of data"):
        CliRunner().invoke(app, ["check", "synthetic", "--set", "train.rounds=3"], catch_exceptions=False)
