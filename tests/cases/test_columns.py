"""Case 05: every usual name of a column is known, and any other can be named; ids stay as they are."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from common.config import DataConfig
from common.data import load
from common.data.readers.columns import KNOWN
from common.errors import ConfigError, DataError
from common.preparation import Preparation, from_text
from common.settings import from_flat, to_flat, validate
from common.settings import load as load_settings

NAMES = [(role, name) for role, tiers in KNOWN.items() for tier in tiers for name in tier.split()]


def spelled(name: str) -> list[str]:
    """Five spellings of one name."""
    words = name.split("_")
    camel = words[0] + "".join(word.title() for word in words[1:])
    return [name, camel, name.upper(), " ".join(words).title(), f"{name}:token"]


@pytest.mark.parametrize(("role", "name"), NAMES)
def test_each_name_is_known_in_each_spelling(tmp_path: Path, role: str, name: str) -> None:
    usual = {"user": "user", "item": "item", "time": "timestamp"}
    prepare = Preparation(min_rating=1 if role == "rating" else 0, events=("e",) if role == "event" else ())
    for way in spelled(name):
        header = {**usual, role: way}
        values = {"user": "1", "item": "2", "time": "3", "rating": "4", "event": "e"}
        lines = [",".join(header.values()), ",".join(values[one] for one in header)]
        (tmp_path / "a.csv").write_text("\n".join(lines))
        log = load("", str(tmp_path / "a.csv"), prepare=prepare)
        assert log.reading.columns[role] == way
        assert (log.user_ids, log.item_ids) == (("1",), ("2",))


@pytest.mark.parametrize(
    ("header", "choose"),
    [
        ("user_id,session_id,item_id,timestamp", "data.columns.user=user_id"),
        ("sessionId;userId;itemId;date", "data.columns.user=sessionId"),
        ("user_id,asin,parent_asin,timestamp", "data.columns.item=asin"),
        ("visitorid,artist,track,ts", "data.columns.item=artist"),
        ("user,item,timestamp,unix_time", "data.columns.time=timestamp"),
        ("user,item,date,time", "data.columns.time=date"),
    ],
)
def test_two_that_may_be_it_are_refused_with_the_way_to_choose(
    tmp_path: Path, header: str, choose: str
) -> None:
    path = tmp_path / "a.csv"
    separator = ";" if ";" in header else ","
    path.write_text(header + "\n" + separator.join(["a", "b", "3", "4"]) + "\n")
    with pytest.raises(DataError) as caught:
        load("", str(path))
    assert choose in str(caught.value)
    config = load_settings(None, [f"data.path={path}", choose])
    log = load("", config.data.path, prepare=config.data.preparation)
    role, _, name = choose.removeprefix("data.columns.").partition("=")
    assert log.reading.columns[role] == name


def test_a_header_of_a_thousand_columns_is_not_recited(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",".join("x" * 99 + str(n) for n in range(1000)) + "\n")
    with pytest.raises(DataError, match="and 980 more; name it with") as caught:
        load("", str(tmp_path / "a.csv"))
    assert len(str(caught.value)) < 1500


def test_any_name_can_be_given_and_a_misspelt_one_is_near(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("who,what,when\nann,x,2\nann,y,1\n")
    columns = {"user": "who", "item": "what", "time": "when"}
    data = DataConfig(path=str(tmp_path / "a.csv"), columns=columns)
    assert load("", data.path, prepare=data.preparation).item_ids == ("x", "y")
    wrong = DataConfig(path=data.path, columns={**columns, "item": "waht"})
    with pytest.raises(DataError, match="data.columns.item: no column 'waht': did you mean 'what'"):
        load("", wrong.path, prepare=wrong.preparation)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "7,x,5,1\n7,y,5,2\n"),
        ("a.tsv", "7\tx\t5\t1\n7\ty\t5\t2\n"),
        ("a.dat", "7,x,5,1\n7,y,5,2\n"),
        ("a.txt", "7|x|5|1\n7|y|5|2\n"),
        ("a.csv", "7;x;5;2014-04-07T10:51:09.277Z\n7;y;5;2014-04-07T10:54:09.868Z\n"),
    ],
)
def test_a_file_without_a_header_is_read_by_positions(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    if name != "a.txt":  # which may be a line a user
        with pytest.raises(
            DataError, match=r"expected a header line .*data\.columns=\{user: 1, item: 2, time: 4\}"
        ):
            load("", str(tmp_path / name))
    prepare = Preparation(columns=(("item", 2), ("time", 4), ("user", 1)))
    log = load("", str(tmp_path / name), prepare=prepare)
    assert (log.user_ids, log.item_ids) == (("7",), ("x", "y"))
    with pytest.raises(DataError, match="no column 9; there are 4"):
        load("", str(tmp_path / name), prepare=Preparation(columns=(("item", 9), ("time", 4), ("user", 1))))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"usr": "a"}, "no role 'usr': did you mean 'user'"),
        ({"user": "a", "item": "a"}, "a different column for each role"),
        ({"user": 1, "item": "a"}, "names for all, or positions"),
        ({"user": 1, "time": 3}, "the positions of user and item"),
        ({"user": 0, "item": 1}, "its position from 1"),
        ({"user": ""}, "a column's name"),
    ],
)
def test_columns_that_cannot_be_are_refused_as_settings(columns: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        validate({"data": {"columns": columns}})


def test_order_file_beside_a_time_column_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a time column beside data\.order: file"):
        validate({"data": {"columns": {"time": "t"}, "order": "file"}})


def test_the_settings_travel() -> None:
    """To Flower's run config and back, and to a node."""
    config = validate({"data": {"columns": {"user": "a"}, "events": ["b"], "min_rating": 3, "min_item": 2}})
    assert from_flat(to_flat(config)) == config
    assert from_text(config.data.preparation.text()) == config.data.preparation
    assert from_text("") == Preparation()
    for wrong in ("{", "[1]", '{"min_ratng": 1}', '{"path": "x"}'):
        with pytest.raises(ConfigError, match="expected"):
            from_text(wrong)


IDS = [
    ["00017", "17", "017"],
    ["12345678901234567890123456789012345678", "9007199254740993", "9007199254740992"],
    ["3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3F2504E0-4F89-11D3-9A0C-0305E82C3301"],
    ["Love, Actually", 'say "hi"', "semi;colon", "a b"],
    ["1.0", "1", "1e3"],
    ["null", "NaN", "None", "true"],
    ["日本", "é", "🎬"],
]


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_ids_stay_as_they_are(tmp_path: Path, ids: list[str], kind: str) -> None:
    table = pl.DataFrame({"user": ids, "item": ids[::-1], "time": list(range(len(ids)))})
    path = tmp_path / f"a.{kind}"
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](path)
    log = load("", str(path))
    assert sorted(log.user_ids) == sorted(log.item_ids) == sorted(ids)
    for user, history in zip(log.user_ids, log.sequences, strict=True):
        assert log.item_ids[history[0] - 1] == ids[::-1][ids.index(user)]


@pytest.mark.parametrize(
    "kind", [pl.Int8, pl.UInt64, pl.Int128, pl.Float64, pl.Decimal(20, 0), pl.Categorical, pl.Binary]
)
def test_whole_numbers_of_any_parquet_column_are_ids(tmp_path: Path, kind: pl.DataType) -> None:
    column = (
        pl.Series(["7", "8"]).cast(kind)
        if kind in (pl.Categorical, pl.Binary)
        else pl.Series([7, 8]).cast(kind)
    )
    pl.DataFrame({"user": column, "item": column, "ts": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    assert load("", str(tmp_path / "a.parquet")).item_ids == ("7", "8")
    raw = bytes(range(16))
    pl.DataFrame({"user": [raw], "item": [raw], "ts": [1]}).write_parquet(tmp_path / "a.parquet")
    assert load("", str(tmp_path / "a.parquet")).user_ids == ("00010203-0405-0607-0809-0a0b0c0d0e0f",)
