"""Case 01: the order of a log is its time, whatever the column is called and in whatever unit it counts."""

from __future__ import annotations

import bz2
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from common.data import Dataset, load
from common.data.readers import times
from common.errors import DataError
from common.preparation import Preparation

BASE = 1_600_000_000
ROWS = [("u1", f"i{n}", BASE + 37 * n * n) for n in range(6)] + [
    ("u2", "i3", BASE + 5),
    ("u2", "i1", BASE + 9),
]
SHUFFLED = [ROWS[n] for n in (3, 7, 0, 5, 6, 2, 4, 1)]
RIGHT = [["i0", "i1", "i2", "i3", "i4", "i5"], ["i3", "i1"]]


def histories(log: Dataset) -> list[list[str]]:
    return [[log.item_ids[i - 1] for i in one] for one in log.sequences]


def written(folder: Path, name: str, column: str, text: object = str) -> Path:
    lines = [f"user_id,item_id,{column}", *(f"{u},{i},{text(t)}" for u, i, t in SHUFFLED)]  # type: ignore[operator]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


@pytest.mark.parametrize(
    "column",
    [
        "timestamp",
        "unix_timestamp",
        "unixReviewTime",
        "Time",
        "date",
        "DateTime",
        "ts",
        "created_at",
        "event time",
    ],
)
def test_a_shuffled_file_is_put_in_order_by_its_time(tmp_path: Path, column: str) -> None:
    log = load("", str(written(tmp_path, "log.csv", column)))
    assert histories(log) == RIGHT
    assert log.reading.columns["time"] == column


@pytest.mark.parametrize("column", ["order_no", "when_seen", "note", "reviewed on", "t"])
def test_a_time_column_that_is_not_known_is_never_dropped(tmp_path: Path, column: str) -> None:
    path = str(written(tmp_path, "log.csv", column))
    with pytest.raises(DataError, match=r"data\.columns\.time=.*data\.order=file") as caught:
        load("", path)
    assert column in str(caught.value)
    assert caught.value.line == 1
    assert histories(load("", path, prepare=Preparation(columns=(("time", column),)))) == RIGHT
    unordered = load("", path, prepare=Preparation(order="file"))
    assert unordered.times is None
    assert histories(unordered)[1] == ["i1", "i3"]  # as the file has it


def test_the_clock_of_a_machine_goes_before_dates_beside_it(tmp_path: Path) -> None:
    text = "user,item,reviewTime,unixReviewTime\n1,a,2024-01-01,9\n1,b,2023-01-01,10\n"
    (tmp_path / "a.csv").write_text(text)
    log = load("", str(tmp_path / "a.csv"))
    assert (log.reading.columns["time"], histories(log)) == ("unixReviewTime", [["a", "b"]])
    (tmp_path / "a.csv").write_text(text.replace("unixReviewTime", "date"))
    with pytest.raises(
        DataError, match="reviewTime, date may each be the time; choose with data.columns.time="
    ):
        load("", str(tmp_path / "a.csv"))


def iso(form: str) -> object:
    return lambda t: datetime.fromtimestamp(t, UTC).strftime(form)


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("s", str),
        ("s", lambda t: f"{t}.0"),
        ("ms", lambda t: t * 1000),
        ("µs", lambda t: t * 10**6),
        ("ns", lambda t: t * 10**9),
        ("s", iso("%Y-%m-%d %H:%M:%S")),
        ("s", iso("%Y-%m-%dT%H:%M:%SZ")),
        ("s", iso("%Y-%m-%dT%H:%M:%S.000+0000")),
        ("s", iso("%Y/%m/%d %H:%M:%S UTC")),
        ("s", lambda t: datetime.fromtimestamp(t + 5400, UTC).strftime("%Y-%m-%dT%H:%M:%S+01:30")),
    ],
)
def test_every_way_to_write_a_time_is_the_same_second(tmp_path: Path, unit: str, text: object) -> None:
    log = load("", str(written(tmp_path, "log.csv", "timestamp", text)))
    assert log.times is not None
    assert [one.tolist() for one in log.times] == [
        [float(t) for _, _, t in ROWS[:6]],
        [BASE + 5.0, BASE + 9.0],
    ]
    assert log.reading.unit == unit


@pytest.mark.parametrize(
    "text", ["2024-02-30", "09 13, 2009", "2024-13-01", "2024-01-01 25:00", "13:05", "soon"]
)
def test_what_is_no_time_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(f'user;item;date\n1;a;2024-01-01\n1;b;"{text}"\n')
    with pytest.raises(DataError, match="expected a finite number .* or an ISO date") as caught:
        load("", str(tmp_path / "a.csv"))
    assert (caught.value.line, caught.value.column) == (3, "date")


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9])
def test_two_units_in_one_column_are_refused(factor: float) -> None:
    with pytest.raises(DataError, match=r"in s \(interaction 2: 1600000001\)"):
        times.in_seconds("log", np.array([BASE * factor, BASE + 1.0, 0.0]))


@pytest.mark.parametrize(
    "kind", [pl.Datetime("ms"), pl.Datetime("ns", "Asia/Tokyo"), pl.Int64, pl.Float64, pl.String]
)
def test_any_column_of_a_parquet_file_is_a_time(tmp_path: Path, kind: pl.DataType) -> None:
    users, items, seconds = zip(*SHUFFLED, strict=True)
    clock = pl.Series([datetime.fromtimestamp(t, UTC) for t in seconds]).cast(pl.Datetime("us", "UTC"))
    if isinstance(kind, pl.Datetime):
        clock = clock.cast(pl.Datetime(kind.time_unit, "UTC")).dt.convert_time_zone(kind.time_zone or "UTC")
        clock = clock if kind.time_zone else clock.dt.replace_time_zone(None)
    else:
        clock = clock.dt.strftime("%Y-%m-%d %H:%M:%S") if kind == pl.String else pl.Series(seconds).cast(kind)
    pl.DataFrame({"user": users, "item": items, "created": clock}).write_parquet(tmp_path / "a.parquet")
    log = load("", str(tmp_path / "a.parquet"))
    assert histories(log) == RIGHT
    assert log.times is not None
    assert log.times[1].tolist() == [BASE + 5.0, BASE + 9.0]


def test_a_file_in_an_archive_has_its_times_too(tmp_path: Path) -> None:
    plain = written(tmp_path, "log.csv", "timestamp")
    (tmp_path / "log.csv.bz2").write_bytes(bz2.compress(plain.read_bytes()))
    log = load("", str(tmp_path / "log.csv.bz2"))
    assert (histories(log), log.name, log.source) == (RIGHT, "log", "log.csv.bz2")
