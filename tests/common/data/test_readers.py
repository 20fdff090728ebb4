"""Every format gives the same table, and the fast reading equals the careful one."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.data import readers
from common.data.readers import blocks, delimited
from common.data.readers.source import Source
from common.errors import DataError
from common.preparation import Preparation

from .conftest import WriteLog

FILE = Preparation(order="file")
ROWS = [("7", "a", 3.0), ("7", "b", 1.5), ("10", "a", 2.0)]


def text(separator: str, header: str) -> str:
    return header + "\n" + "".join(f"{u}{separator}{i}{separator}{t}\n" for u, i, t in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", text(",", "user,item,timestamp")),
        ("log.csv", text(",", "UserId, Movie ID ,ts")),
        ("log.csv", text(",", "user,item,timestamp").replace("\n", "\r\n")),
        ("log.csv", "\ufeff" + text(",", "user,item,timestamp")),
        ("log.csv", text(",", "user,item,timestamp").replace("7,", '"7",')),
        ("log.csv", text(",", "user,item,timestamp") + "\n\n"),
        ("log.CSV", text(",", "user,item,timestamp").rstrip("\n")),
        ("log.tsv", text("\t", "user\titem\ttime")),
        ("log.inter", text("\t", "user_id:token\titem_id:token\ttimestamp:float")),
        ("log.csv", "rating,time,item_id,user_id\n5,3,a,7\n,1.5,b,7\n1,2,a,10\n"),
        ("u.data", "7\ta\t5\t3\n7\tb\t5\t1.5\n10\ta\t5\t2\n"),
        ("ratings.dat", "7::a::5::3\n7::b::5::1.5\n10::a::5::2\n"),
        ("ratings.dat", "7::a::5::3\n7::b::\t::1.5\n10::a::5::2\n"),
    ],
)
def test_formats_agree(write_log: WriteLog, name: str, content: str) -> None:
    assert readers.read(write_log(name, content)).rows() == ROWS


def test_without_times(write_log: WriteLog) -> None:
    log = readers.read(write_log("log.csv", "item,user\nb,2\na,1\n"), FILE)
    assert log.columns == ["user", "item"]
    assert log.rows() == [("2", "b"), ("1", "a")]


def test_one_line_a_user(write_log: WriteLog) -> None:
    log = readers.read(write_log("log.txt", "7 b a b\n\n10 c\n"))
    assert log.rows() == [("7", "b"), ("7", "a"), ("7", "b"), ("10", "c")]


def test_ids_lose_outer_blanks_only(write_log: WriteLog) -> None:
    quoted = readers.read(write_log("a.csv", 'user,item\n "x" y , b c\n'), FILE)
    plain = readers.read(write_log("b.csv", "user,item\n x y , b c\n"), FILE)
    assert quoted["item"].to_list() == plain["item"].to_list() == ["b c"]
    assert plain["user"].to_list() == ["x y"]


def test_tabs_know_no_quotes(write_log: WriteLog) -> None:
    log = readers.read(write_log("log.tsv", 'user\titem\n1\t"Heat\n2\tRan"\n'), FILE)
    assert log["item"].to_list() == ['"Heat', 'Ran"']


def test_quoted_line_break_is_one_field(write_log: WriteLog) -> None:
    path = write_log("log.csv", 'user,note,item\n1,"two\nlines",a\n2,plain,\n')
    with pytest.raises(DataError, match="line 4, column item"):
        readers.read(path, FILE)


def test_unknown_ending_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.xlsx.*\.csv, \.tsv, \.parquet, \.inter, \.txt"):
        readers.read(tmp_path / "log.xlsx")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        readers.read(tmp_path / "log.csv")


CLEAN = "user,item,time\n" + "".join(f"{n % 7},i{n},{n / 2}\n" for n in range(300))


def test_a_clean_file_takes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, names = CLEAN.splitlines(keepends=True)[1:], ("user", "item", "time")
    (slow,) = delimited._careful("log", lines, 2, ",", names, {"user": 0, "item": 1, "time": 2})
    monkeypatch.setattr(delimited, "_careful", None)
    (fast,) = delimited.frames(Source("log", [CLEAN.encode()]))
    assert fast.equals(slow)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(["1,a,2", '"1","b\nc",3', "2,é,4", "", "3,a", '4,"x', "5,b,now"]), max_size=9),
    st.integers(1, 40),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_file_in_blocks_is_the_file(lines: list[str], size: int, end: str) -> None:
    """Whatever the blocks are: the same table, or the same complaint about the same line."""
    data = end.join(["user,item,time", *lines]).encode()

    def outcome(pieces: list[bytes]) -> object:
        try:
            return pl.concat(delimited.frames(Source("log", pieces))).rows()
        except DataError as error:
            return str(error), error.line, error.column

    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert outcome(pieces) == outcome([data])


def test_a_large_file_is_read_a_block_at_a_time(write_log: WriteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(str(n % 7), f"i{n}", n / 2) for n in range(300)]
    for name, text in (("a.csv", CLEAN), ("a.txt", "".join(f"{u} x y\n" for u in range(300)))):
        path = write_log(name, text)
        whole = readers.read(path)
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "SIZE", 100)
            tables = list(readers.frames(path))
        assert len(tables) > 10
        assert max(table.height for table in tables) < 60
        assert pl.concat(tables).equals(whole)
    assert readers.read(write_log("a.csv", CLEAN)).rows() == rows


FIELD = st.sampled_from(["", " ", "1", "x", "-3", "2.5", "nan", "1_0", "1e3", "é", '"', '"q"', "a\rb", "\0"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.permutations(["user", "note", "item", "time"]),
    st.lists(st.lists(FIELD, min_size=1, max_size=5), max_size=6),
    st.booleans(),
    st.sampled_from(",\t"),
)
def test_fast_never_reads_what_careful_refuses(
    header: list[str], lines: list[list[str]], end: bool, separator: str
) -> None:
    body = "\n".join(separator.join(line) for line in lines)
    body += "\n" * end
    where = {role: header.index(role) for role in ("user", "item", "time")}
    fast = delimited._fast(body, separator, tuple(header), where)
    if fast is not None:
        careful = delimited._careful("log", io.StringIO(body, newline=""), 2, separator, tuple(header), where)
        assert fast.equals(pl.concat(careful))
        assert fast.schema == {"user": pl.String, "item": pl.String, "time": pl.Float64}
