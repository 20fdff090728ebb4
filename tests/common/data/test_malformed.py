"""A malformed log is refused with file, line, column and what was expected."""

from __future__ import annotations

import pytest

from common.data import load, readers
from common.errors import DataError

from .conftest import WriteLog

HEAD = "user,item,timestamp\n"

CASES = [
    # name, content, line, column, words of the problem
    ("a.csv", "", None, None, "file is empty"),
    ("a.csv", " \n\n", None, None, "file is empty"),
    ("a.csv", HEAD, 1, None, "no interactions after the header"),
    ("a.csv", HEAD + "1,a,3\n1,b\n", 3, None, "expected 3 fields, found 2, timestamp is missing"),
    ("a.csv", HEAD + "1,a,3\n1,b,4,9\n", 3, None, "expected 3 fields, found 4"),
    (
        "a.csv",
        "user,item,time,note\n1,a,1,x\n1,b,1\n",
        3,
        None,
        "expected 4 fields, found 3, note is missing",
    ),
    ("a.csv", HEAD + "1,a,3\n,b,4\n", 3, "user", "expected an id"),
    ("a.csv", HEAD + "1,a,3\n1, ,4\n", 3, "item", "expected an id"),
    ("a.csv", HEAD + "1,a,3\n,,\n1,b,4\n", 3, "user", "expected an id"),
    ("a.csv", HEAD + "1,a,3\n1,b,\n", 3, "timestamp", "found ''"),
    (
        "a.csv",
        HEAD + "1,a,monday\n",
        2,
        "timestamp",
        "or an ISO date such as 2026-11-28T22:16:33, found 'monday'",
    ),
    ("a.csv", HEAD + "1,a,3\n\n1,b,nan\n", 4, "timestamp", "found 'nan'"),
    ("a.csv", HEAD + "1,a,inf\n", 2, "timestamp", "found 'inf'"),
    ("a.csv", HEAD + "1,a,1e999\n", 2, "timestamp", "found '1e999'"),
    ("a.csv", HEAD + "1,a,1_000\n", 2, "timestamp", "found '1_000'"),
    ("a.csv", HEAD + '1,a,3\n1,"b,4\n', 3, None, "not a ','-separated line"),
    ("a.csv", HEAD.encode() + b"1,a,3\n1,b\xff,4\n", 3, None, "byte 0xff is not UTF-8"),
    ("a.csv", b"u\x00s\x00e\x00r\x00", 1, None, "data.encoding=utf-16-le"),
    ("a.csv", b"\xff\xfeu\x00s", 1, None, "not utf-16 text"),
    (
        "a.csv",
        "who,what\n1,a\n",
        1,
        None,
        "expected a user column and an item column; no user (user, user_id, uid, …)",
    ),
    ("a.csv", "who,what\n1,a\n", 1, None, "among who, what; name it with data.columns.user=NAME"),
    (
        "a.csv",
        "user,user_id,item\n1,1,a\n",
        1,
        None,
        "user, user_id may each be the user; choose with data.columns.user=user",
    ),
    ("a.csv", "user,item,user\n1,a,2\n", 1, None, "2 columns are called user; rename all but the user"),
    ("a.tsv", "time\tuser\titem\n9\t1\ta\n9\t2 b\n", 3, None, "expected 3 fields, found 2, item is missing"),
    ("a.inter", "user_id\titem_id:token\n1\ta\n", 1, "user_id", "expected name:type"),
    ("a.inter", "user_id:token\titem_id:word\n1\ta\n", 1, "item_id:word", "token, token_seq, float"),
    ("a.inter", "user_id:token\titem_id:token\ttime:float\n1\t\t1\n", 2, "item_id:token", "expected an id"),
    ("a.inter", "", None, None, "file is empty"),
    ("a.txt", "", None, None, "file is empty"),
    ("a.txt", "1 a b\n2\n", 2, None, "expected item ids"),
    ("a.txt", "1 a b\n2 a\n1 c\n", 3, "1", "user 1 has a line already, line 1"),
    ("a.txt", b"1 a\n2 \xc3\n", 2, None, "is not UTF-8"),
    ("u.data", "1\t2\t5\t3\n1\t3\t5\n", 2, None, "expected 4 fields, found 3, timestamp is missing"),
    ("u.data", "1\t2\t5\t3\n1\t3\t5\tx\n", 2, "timestamp", "found 'x'"),
    ("ratings.dat", "1::2::5::3\n1::3::5\n", 2, None, "expected 4 fields, found 3"),
    ("ratings.dat", "1::2::5::3\n1::3:\t5:4\n", 2, None, "expected 4 fields, found 2"),
]


@pytest.mark.parametrize(("name", "content", "line", "column", "words"), CASES)
def test_refused_with_the_place(
    write_log: WriteLog, name: str, content: str | bytes, line: int | None, column: str | None, words: str
) -> None:
    path = write_log(name, content)
    with pytest.raises(DataError) as caught:
        readers.read(path)
    assert words in str(caught.value)
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(path), line, column)


def test_the_line_is_right_deep_in_a_large_file(write_log: WriteLog) -> None:
    rows = [f"{n},{n},{n}" for n in range(5000)]
    rows[4321] = "4321,,4321"
    with pytest.raises(DataError, match="line 4323, column item"):
        load("", str(write_log("big.csv", HEAD + "\n".join(rows))))
