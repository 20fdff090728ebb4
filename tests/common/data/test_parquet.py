"""Parquet logs: the types that are taken and the ones that are not."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from common.data import readers
from common.errors import DataError
from common.preparation import AS_IT_IS, Preparation

FILE = Preparation(order="file")


def written(folder: Path, **columns: Any) -> Path:
    path = folder / "log.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


@pytest.mark.parametrize("users", [[7, 8], [7.0, 8.0], ["7", " 8"], pl.Series([7, 8], dtype=pl.UInt8)])
def test_ids_become_text(tmp_path: Path, users: object) -> None:
    log = readers.read(written(tmp_path, user_id=users, item_id=["a", "b"]), FILE)
    assert log.rows() == [("7", "a"), ("8", "b")]


@pytest.mark.parametrize(
    "times",
    [
        [86400, 86401],
        [86400.0, 86401.0],
        [datetime(1970, 1, 2), datetime(1970, 1, 2, 0, 0, 1)],
        [datetime(1970, 1, 2, tzinfo=UTC), datetime(1970, 1, 2, 0, 0, 1, tzinfo=UTC)],
    ],
)
def test_times_become_seconds(tmp_path: Path, times: object) -> None:
    log = readers.read(written(tmp_path, user=["a", "b"], item=[1, 2], timestamp=times))
    assert log["time"].to_list() == [86400.0, 86401.0]


def test_dates_become_seconds(tmp_path: Path) -> None:
    log = readers.read(written(tmp_path, user=["a"], item=[1], time=[date(1970, 1, 3)]))
    assert log["time"].to_list() == [172800.0]


@pytest.mark.parametrize(
    ("columns", "line", "column", "words"),
    [
        ({"user": [1, None], "item": [1, 2]}, 2, "user", "expected an id"),
        ({"user": ["1", " "], "item": [1, 2]}, 2, "user", "expected an id"),
        (
            {"user": [1.0, 1.5], "item": [1, 2]},
            None,
            "user",
            "expected an id|whole numbers or text, found Float64",
        ),
        ({"user": [1.0, float("nan")], "item": [1, 2]}, 2, "user", "expected an id"),
        ({"user": [[1], [2]], "item": [1, 2]}, None, "user", "whole numbers or text, found List"),
        ({"user": [1, 2], "item": [1, 2], "ts": [1.0, float("inf")]}, 2, "ts", "finite number or a date"),
        ({"user": [1, 2], "item": [1, 2], "ts": [None, 1.0]}, 1, "ts", "a date, found an empty field$"),
        ({"user": [1, 2], "item": [1, 2], "ts": [None, None]}, None, "ts", "fields alone; data.order=file"),
        ({"user": [1, 2], "item": [1, 2], "ts": [[1], [2]]}, None, "ts", "numbers or dates, found List"),
        ({"user": [1, 2], "item": [1, 2], "ts": ["1", "x"]}, 2, "ts", "an ISO date"),
        ({"user": [2.0**53, 1.0], "item": [1, 2]}, None, "user", "lost digits"),
        ({"user": [], "item": []}, None, None, "no interactions"),
        ({"u": [1]}, 1, None, "expected a user column"),
    ],
)
def test_refused(
    tmp_path: Path, columns: dict[str, Any], line: int | None, column: str | None, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        readers.read(written(tmp_path, **columns), AS_IT_IS if "ts" in columns else FILE)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize("keep", [0, 3, 40, -9, -1])
def test_truncated(tmp_path: Path, keep: int) -> None:
    path = written(tmp_path, user=list(range(100)), item=list(range(100)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"log\.parquet: expected a complete Parquet file"):
        readers.read(path)


def test_rows_are_looked_at_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, user=list(range(10)), item=[f"i{n}" for n in range(10)], ts=list(range(10)))
    whole = readers.read(path)
    monkeypatch.setattr(readers.parquet, "ROWS", 4)
    tables = list(readers.frames(path))
    assert [table.height for table in tables] == [4, 4, 2]
    assert pl.concat(tables).equals(whole)
    path = written(tmp_path, user=[1] * 10, item=[*range(8), None, 3])
    with pytest.raises(DataError) as caught:
        readers.read(path, FILE)
    assert (caught.value.line, caught.value.column) == (9, "item")
