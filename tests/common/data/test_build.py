"""Numbers and order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data import Dataset, load
from common.data import build as module
from common.data.build import build, order

from .conftest import WriteLog


def log(*rows: tuple[str, str] | tuple[str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user", "item", "time"][: len(rows[0])], orient="row")


def lists(data: Dataset) -> list[list[int]]:
    return [one.tolist() for one in data.sequences]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["10", "9", "1", "9"], ["1", "9", "10"]),
        (["10", "-2", "0"], ["-2", "0", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["01", "1", "2"], ["01", "1", "2"]),
        (["9" * 5000, "10"], ["10", "9" * 5000]),
    ],
)
def test_catalogue_order(ids: list[str], expected: list[str]) -> None:
    assert order(ids).to_list() == expected


def test_whole_range_of_integers_keeps_its_numbers() -> None:
    data = build("x", log(("3", "2"), ("1", "3"), ("2", "1")))
    assert data.item_ids == data.user_ids == ("1", "2", "3")
    assert data.devices.tolist() == [1, 2, 3]
    assert lists(data) == [[3], [1], [2]]


def test_numbers_are_ranks_from_one() -> None:
    data = build("x", log(("u9", "30"), ("u10", "7"), ("u10", "200")))
    assert data.user_ids == ("u10", "u9")
    assert data.item_ids == ("7", "30", "200")
    assert lists(data) == [[1, 3], [2]]
    assert data.num_items == 3
    assert data.times is None


def test_ties_keep_the_order_of_the_file() -> None:
    data = build(
        "x", log(("1", "5", 2.0), ("2", "1", 9.0), ("1", "4", 1.0), ("1", "3", 2.0), ("1", "1", 2.0))
    )
    assert lists(data) == [[3, 4, 2, 1], [1]]
    assert data.times is not None
    assert data.times[0].tolist() == [1.0, 2.0, 2.0, 2.0]


def test_without_times_the_file_is_the_order_and_repeats_stay() -> None:
    data = build("x", log(("1", "b"), ("2", "a"), ("1", "a"), ("1", "b")))
    assert lists(data) == [[2, 1, 2], [1]]


def test_titles_and_catalogue() -> None:
    data = build("x", log(("1", "b")), titles={"b": "Beta", "z": "?"}, catalogue=["a", "c"])
    assert data.item_ids == ("a", "b", "c")
    assert data.titles == {2: "Beta"}
    assert lists(data) == [[2]]


def test_types() -> None:
    data = build("x", log(("1", "b", 1.0)))
    assert data.sequences[0].dtype == np.int32
    assert data.devices.dtype == np.int64
    assert data.times is not None
    assert data.times[0].dtype == np.float64
    assert data.sequences[0].flags.writeable, "torch.from_numpy warns of read-only arrays"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=40))
def test_against_plain_python(rows: list[tuple[int, int, int]]) -> None:
    data = build("x", log(*[(str(u), str(i), float(t)) for u, i, t in rows]))
    for user, sequence in zip(data.user_ids, data.sequences, strict=True):
        mine = sorted((row for row in rows if str(row[0]) == user), key=lambda row: row[2])
        assert [data.item_ids[n - 1] for n in sequence] == [str(row[1]) for row in mine]


@pytest.mark.parametrize("times", [True, False])
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(1, 4),
)
def test_many_tables_sorted_a_few_users_at_a_time(
    times: bool, rows: list[tuple[int, int, int]], chunk: int, users: int
) -> None:
    """Equal to Python's own stable sort, however the log is cut and however few users are sorted together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        patch.setattr(module, "USERS", users)
        table = log(*[(str(u), f"i{i}", float(t)) for u, i, t in rows]).select(
            "user", "item", *(["time"] if times else [])
        )
        data = build("x", (table[at : at + chunk] for at in range(0, len(rows), chunk)))
    assert data.user_ids == [str(u) for u in sorted({u for u, _, _ in rows})]
    assert data.item_ids == [f"i{i}" for i in sorted({i for _, i, _ in rows})]
    for place, user in enumerate(data.user_ids):
        mine = [row for row in rows if str(row[0]) == user]
        mine = sorted(mine, key=lambda row: row[2]) if times else mine
        assert [data.item_ids[n - 1] for n in data.sequences[place]] == [f"i{i}" for _, i, _ in mine]
        if times:
            assert data.times is not None
            assert data.times[place].tolist() == [float(t) for _, _, t in mine]
    assert (data.times is not None) == times


def test_load_takes_any_file(write_log: WriteLog) -> None:
    data = load("ml-100k", str(write_log("mine.csv", "user,item,time\nann,x,2\nann,y,1\n")))
    assert (data.name, data.source, data.user_ids) == ("mine", "mine.csv", ("ann",))
    assert lists(data) == [[2, 1]]
