"""Case 06: packed files, JSON lines, other delimiters and encodings are read, or refused with the remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from common.data import load, prepared, readers
from common.errors import DataError
from common.preparation import Preparation

TEXT = "user,item,time\n7,a,3\n7,b,1.5\n10,a,2\n"
HISTORIES = [("7", ["b", "a"]), ("10", ["a"])]


def zipped(data: bytes, name: str = "in/log.csv", **more: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
        for other, text in more.items():
            archive.writestr(other, text)
    return buffer.getvalue()


def histories(path: Path, prepare: Preparation | None = None) -> list[tuple[str, list[str]]]:
    log = load("", str(path), prepare=prepare or Preparation())
    return [
        (user, [log.item_ids[i - 1] for i in one])
        for user, one in zip(log.user_ids, log.sequences, strict=True)
    ]


JSON = (
    '{"reviewerID": 7, "asin": "a", "unixReviewTime": 3, "style": {"x": [1]}}\n'
    '{"asin": "b", "reviewerID": "7", "unixReviewTime": 1.5}\n\n'
    '{"reviewerID": 10, "asin": "a", "unixReviewTime": "2"}\n'
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv.gz", gzip.compress(TEXT.encode())),
        ("log.CSV.GZ", gzip.compress(TEXT.encode())),
        ("log.csv.bz2", bz2.compress(TEXT.encode())),
        ("log.csv.xz", lzma.compress(TEXT.encode())),
        ("log.zip", zipped(TEXT.encode(), README="no log")),
        ("log.jsonl", JSON.encode()),
        ("log.ndjson", JSON.encode()),
        ("log.json.gz", gzip.compress(JSON.encode())),
        ("log.zip", zipped(JSON.encode(), "reviews.json")),
        ("log.csv", TEXT.replace(",", ";").encode()),
        ("log.csv", TEXT.replace(",", "\t").encode()),
        ("log.csv", TEXT.replace(",", "|").encode()),
        ("log.csv", TEXT.replace(",", "::").encode()),
        ("log.tsv", TEXT.encode()),
        ("log.txt", TEXT.replace(",", "\t").encode()),
        ("log.dat", TEXT.replace(",", "\t").encode()),
        ("log.csv", TEXT.replace(",", ";").replace("a", '"a"').encode()),
        ("log.csv", TEXT.encode("utf-16")),
        ("log.csv", b"\xfe\xff" + TEXT.encode("utf-16-be")),
        ("log.csv", TEXT.replace("\n", "\r\n").encode("utf-8-sig")),
        ("log.csv", TEXT.replace("\n", "\r").encode()),
        ("log.csv", b"\n\n" + TEXT.encode()),
    ],
)
def test_every_form_is_the_same_log(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert histories(tmp_path / name) == HISTORIES


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "shift_jis", "cp1251"])
def test_another_encoding_is_read_where_it_is_named(tmp_path: Path, encoding: str) -> None:
    word = {"shift_jis": "日本", "cp1251": "кино"}.get(encoding, "é")
    path = tmp_path / "log.csv"
    path.write_bytes(TEXT.replace("b", word).encode(encoding))
    with pytest.raises(DataError, match="data.encoding="):
        load("", str(path))
    assert histories(path, Preparation(encoding=encoding)) == [("7", [word, "a"]), ("10", ["a"])]


@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        ("log.xlsx", b"PK", None, "unknown ending '.xlsx'; expected one of .csv, .*save the sheet as CSV"),
        ("log.feather", b"", None, "unknown ending '.feather'"),
        ("log", b"user,item\n", None, "unknown ending ''"),
        ("log.csv.zst", b"", None, "unpack it, or pack it with gzip"),
        ("log.tar.gz", b"", None, "unknown ending"),
        ("log.csv.gz", b"user,item\n", None, "Not a gzipped file"),
        ("log.csv.gz", gzip.compress(TEXT.encode() * 999)[:-9], None, "cannot be unpacked"),
        ("log.csv.xz", b"x" * 99, None, "cannot be unpacked"),
        ("log.zip", b"PK", None, "not a complete zip archive"),
        ("log.zip", zipped(b"x", "a.md"), None, "expected one log in the archive, found a.md; unpack it"),
        ("log.zip", zipped(b"x", "a.csv", **{"b.csv": "y"}), None, "found a.csv, b.csv; unpack it"),
        ("log.jsonl", b"[1, 2]\n", 1, "expected one JSON object a line, found list"),
        ("log.jsonl", JSON.encode() + b"{'user': 1}\n", 5, "no JSON at character 2"),
        (
            "log.jsonl",
            JSON.encode() + b'{"reviewerID": 1, "unixReviewTime": 1}\n',
            5,
            "column asin: expected an id",
        ),
        ("log.jsonl", JSON.replace('"a"', "[1]").encode(), 1, "column asin: expected text or a number"),
        ("log.jsonl", JSON.replace("1.5", '"soon"').encode(), 2, "or an ISO date"),
        ("log.jsonl", b"\n", None, "the file is empty"),
        ("log.jsonl", b'{"asin": 1}\n', 1, "name it with data.columns.user=NAME"),
    ],
)
def test_what_is_not_read_says_what_is(
    tmp_path: Path, name: str, content: bytes, line: int | None, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        load("", str(tmp_path / name))
    assert caught.value.line == line


def test_a_bomb_is_read_a_block_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers.delimited, "ROWS", 10)
    monkeypatch.setattr("common.data.readers.blocks.SIZE", 1 << 16)
    monkeypatch.setattr("common.data.readers.blocks.LONGEST", 1 << 18)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"user,item,time\n" + b"1" * (1 << 24)))
    with pytest.raises(DataError, match="a line of more than"):
        load("", str(tmp_path / "a.csv.gz"))


def test_a_large_packed_log_is_prepared_once_for_each_way_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "SMALL", 1)
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress((TEXT + "7,a,9\n").encode()))
    asked = [Preparation(), Preparation(repeats="drop")]
    fresh = [load("", str(path), prepare=one) for one in asked]
    prepared._OPEN.clear()
    monkeypatch.setattr(prepared, "build", None)
    for one, first in zip(asked, fresh, strict=True):
        again = load("", str(path), prepare=one)
        assert [row.tolist() for row in again.sequences] == [row.tolist() for row in first.sequences]
        assert again.reading == first.reading
        assert again.name == "log"
    assert fresh[1].reading.dropped == {"data.repeats": 1}
