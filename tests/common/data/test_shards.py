"""Shards hold every device once, keep its numbers, and are checked when read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from common.data import Dataset, load, write_shards
from common.data.readers import parquet
from common.errors import ConfigError, DataError


@pytest.fixture
def whole() -> Dataset:
    data = load("synthetic", "devices=11,items=30,length=8")
    return replace(data, devices=data.devices * 10, titles={3: "Three"})


def test_devices_are_dealt_in_turn(whole: Dataset, tmp_path: Path) -> None:
    paths = write_shards(whole, 3, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["node-000.parquet", "node-001.parquet", "node-002.parquet"]
    for node, path in enumerate(paths):
        part = load("", str(path))
        rows = range(node, 11, 3)
        assert part.devices.tolist() == [(row + 1) * 10 for row in rows]
        assert part.num_items == 30
        assert part.item_ids == whole.item_ids
        assert part.titles == {3: "Three"}
        assert part.times is not None
        assert whole.times is not None
        for mine, row in enumerate(rows):
            assert np.array_equal(part.sequences[mine], whole.sequences[row])
            assert np.array_equal(part.times[mine], whole.times[row])


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("open_umask")
def test_a_log_is_its_owners_from_the_first_byte_on(
    whole: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, original = dict[str, tuple[int, int]](), pl.DataFrame.write_parquet

    def look(frame: pl.DataFrame, file: Path) -> None:
        seen[file.name] = mode(file), mode(file.parent)
        original(frame, file)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", look)
    out = tmp_path / "new"
    for _ in range(2):
        first, second = write_shards(whole, 2, out)
        assert mode(out) == 0o700
        assert (mode(first), mode(second), mode(out / "catalogue.parquet")) == (0o600, 0o600, 0o644)
        first.chmod(0o644)  # and once more, over a file that all may read
    assert seen["node-000.parquet"] == seen["node-001.parquet"] == (0o600, 0o700)


@pytest.mark.usefixtures("open_umask")
def test_a_folder_that_is_there_keeps_its_mode(whole: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    out.mkdir()
    (log,) = write_shards(whole, 1, out)
    assert (mode(out), mode(log)) == (0o755, 0o600)


def test_order_survives_shuffled_rows(whole: Dataset, tmp_path: Path) -> None:
    (path,) = write_shards(whole, 1, tmp_path)
    pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    read = load("", str(path))
    assert read.times is not None
    assert whole.times is not None
    assert all(map(np.array_equal, read.sequences, whole.sequences))
    assert all(map(np.array_equal, read.times, whole.times))


def test_order_survives_tied_times_and_shuffled_rows(whole: Dataset, tmp_path: Path) -> None:
    assert whole.times is not None
    tied = replace(whole, times=tuple(np.zeros_like(one) for one in whole.times))
    (path,) = write_shards(tied, 1, tmp_path)
    pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    assert all(map(np.array_equal, load("", str(path)).sequences, whole.sequences))


def test_without_times(whole: Dataset, tmp_path: Path) -> None:
    (path,) = write_shards(replace(whole, times=None), 1, tmp_path)
    assert pl.read_parquet(path).columns == ["user", "item", "position"]
    assert load("", str(path)).times is None


def test_columns_and_no_ids_in_a_log(whole: Dataset, tmp_path: Path) -> None:
    path = write_shards(replace(whole, user_ids=("secret",) * 11), 2, tmp_path)[0]
    log = pl.read_parquet(path)
    assert log.schema == {"user": pl.Int64, "item": pl.Int32, "position": pl.Int32, "timestamp": pl.Float64}
    assert b"secret" not in path.read_bytes()


def test_only_the_logs_and_the_catalogue_are_left(whole: Dataset, tmp_path: Path) -> None:
    write_shards(whole, 2, tmp_path)
    write_shards(whole, 2, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["catalogue.parquet", "node-000.parquet", "node-001.parquet"]


def test_logs_of_a_larger_split_are_not_mixed_in(whole: Dataset, tmp_path: Path) -> None:
    write_shards(whole, 3, tmp_path)
    with pytest.raises(ConfigError, match=r"node-002\.parquet of a split into more nodes"):
        write_shards(whole, 2, tmp_path)


@pytest.mark.parametrize("nodes", [0, -1, 12])
def test_number_of_nodes(whole: Dataset, tmp_path: Path, nodes: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 11"):
        write_shards(whole, nodes, tmp_path)


def test_unwritable(whole: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_shards(whole, 1, tmp_path / "file")


def test_without_a_catalogue_numbers_start_anew(whole: Dataset, tmp_path: Path) -> None:
    path = write_shards(whole, 3, tmp_path)[1]
    (tmp_path / "catalogue.parquet").unlink()
    assert load("", str(path)).devices.tolist() == [1, 2, 3, 4]


FIRST = pl.int_range(pl.len()) == 1


def put(column: str, value: object) -> pl.Expr:
    return pl.when(FIRST).then(pl.lit(value)).otherwise(pl.col(column)).cast(pl.Int32).alias(column)


@pytest.mark.parametrize(
    ("change", "column", "line", "words"),
    [
        (put("item", 31), "item", 2, "an item of the catalogue, 1 to 30, found 31"),
        (put("item", 0), "item", 2, "an item of the catalogue"),
        (put("user", -4).cast(pl.Int64), "user", 2, "a device number from 1, found -4"),
        (put("position", 0), "position", 1, "one item a position"),
        (put("item", None), "item", 2, "expected a value"),
        (pl.col("item").cast(pl.String), "item", None, "expected Int32"),
        (pl.lit(float("nan")).alias("timestamp"), "timestamp", 1, "finite number of seconds"),
    ],
)
def test_bad_log(
    whole: Dataset, tmp_path: Path, change: pl.Expr, column: str, line: int | None, words: str
) -> None:
    (path,) = write_shards(whole, 1, tmp_path)
    pl.read_parquet(path).with_columns(change).write_parquet(path)
    with pytest.raises(DataError, match=words) as caught:
        load("", str(path))
    assert (caught.value.line, caught.value.column) == (line, column)


def test_missing_column_empty_log_missing_log(whole: Dataset, tmp_path: Path) -> None:
    (path,) = write_shards(whole, 1, tmp_path)
    log = pl.read_parquet(path)
    log.clear().write_parquet(path)
    with pytest.raises(DataError, match="no interactions"):
        load("", str(path))
    log.drop("position").write_parquet(path)
    with pytest.raises(DataError, match=r"column position: expected Int32 .* no such column"):
        load("", str(path))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        load("", str(path))


def test_catalogue_with_a_gap(whole: Dataset, tmp_path: Path) -> None:
    (path,) = write_shards(whole, 1, tmp_path)
    beside = tmp_path / "catalogue.parquet"
    pl.read_parquet(beside).slice(1).write_parquet(beside)
    with pytest.raises(DataError, match=r"catalogue\.parquet, column item: expected the numbers from 1"):
        load("", str(path))


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_first_devices_of_a_log(
    whole: Dataset, tmp_path: Path, shuffled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write_shards(whole, 1, tmp_path)
    if shuffled:
        pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    tables, original = [], parquet.table

    def table(*args: Any, **named: Any) -> pl.DataFrame:
        tables.append(original(*args, **named))
        return tables[-1]

    monkeypatch.setattr(parquet, "table", table)
    part = load("", str(path), devices=4)
    assert part.devices.tolist() == whole.devices[:4].tolist()
    assert part.num_items == whole.num_items
    assert whole.times is not None
    assert part.times is not None
    assert all(map(np.array_equal, part.sequences, whole.sequences[:4]))
    assert all(map(np.array_equal, part.times, whole.times[:4]))
    decoded = tables[-1].height
    assert decoded == (whole if shuffled else part).sequences.lengths.sum()
    assert len(load("", str(path), devices=400)) == len(whole)
