"""Logs that are frames: read as the same rows in a file are, kept in the folder of their run."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import fedsieve
from common.data import content_digest
from experiments.cli import call
from tests.experiments.trained_run import log
from tests.fedsieve.samples import small
from tests.fedsieve.test_examples import page

COLUMNS = {"user": "who", "item": "what", "time": "when"}


class Column:
    """A column as pandas has it: a type, and values by way of NumPy."""

    def __init__(self, values: list[Any], kind: str) -> None:
        self.dtype, self.values = kind, np.array(values, dtype=kind)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values if dtype is None else self.values.astype(dtype)


class Frame:
    """A frame that is like one of pandas, which is not installed here."""

    def __init__(self, **columns: Column) -> None:
        self.columns, self._held = list(columns), columns

    def to_dict(self) -> dict[str, Any]:
        return dict(self._held)

    def __getitem__(self, name: str) -> Column:
        return self._held[name]


class NAType:
    """What pandas has in place of a missing value."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log whose columns nobody could guess, and one that no run needs."""
    frame = pl.read_csv(log(tmp_path)).select(who="user", what="item", when="time", secret=pl.lit("s"))
    frame.write_csv(tmp_path / "clicks.csv")
    return tmp_path / "clicks.csv"


def test_a_frame_is_read_as_the_file_of_the_same_rows(path: Path) -> None:
    ways: list[dict[str, Any]] = [{}, {"min_user": 8}, {"order": "file"}, {"max_devices": 5}]
    for way in ways:
        columns = {k: v for k, v in COLUMNS.items() if k != "time" or "order" not in way}
        settings = {"columns": columns, **way}
        from_file = fedsieve.load_log(path, **settings)
        for frame in (pl.read_csv(path), pl.scan_csv(path)):
            found = fedsieve.load_log(frame, **settings)
            assert content_digest(found) == content_digest(from_file)
            assert list(found.user_ids) == list(from_file.user_ids)
            assert found.name == "frame"
    assert fedsieve.load_log(pl.read_csv(path), name="shop", columns=COLUMNS).name == "shop"


def test_a_frame_like_that_of_pandas_is_taken() -> None:
    moments = [f"2026-01-01T00:00:0{n}" for n in range(6)]
    frame = Frame(
        user=Column(["a", "a", "a", "b", "b", "b"], "O"),
        item=Column([7, 8, 9, 8, 9, 7], "int64"),
        time=Column(moments, "datetime64[ns]"),
        note=Column([1, "x", NAType(), None, {}, []], "O"),
    )
    found = fedsieve.load_log(frame)
    assert [one.tolist() for one in found.sequences] == [[1, 2, 3], [2, 3, 1]]
    assert (list(found.user_ids), list(found.item_ids)) == (["a", "b"], ["7", "8", "9"])
    assert found.times is not None
    assert found.times[0][1] == dt.datetime(2026, 1, 1, 0, 0, 1, tzinfo=dt.UTC).timestamp()
    frame["user"].values[4] = NAType()
    with pytest.raises(fedsieve.DataError, match="frame, line 5, column user: expected"):
        fedsieve.load_log(frame)
    frame["user"].values[4] = 3
    with pytest.raises(fedsieve.DataError, match="column user: expected values of one type, found int, str"):
        fedsieve.load_log(frame)


def test_a_run_of_a_frame_holds_its_log(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"data.columns": COLUMNS, "data.min_user": 2}
    frame, out = pl.read_csv(path), tmp_path / "run"
    first = small(frame, out=out, settings=settings)
    assert first.metrics == small(path, settings=settings).metrics
    assert "log: min_user 2" in first.summary["protocol"]
    held = Path(yaml.safe_load((out / "config.yaml").read_text())["data"]["path"])
    assert held == out / "log" / "frame.parquet"
    assert set(pl.read_parquet(held).columns) == {"who", "what", "when"}
    path.unlink()
    assert small(frame, out=out, resume=True, settings=settings).metrics == first.metrics
    assert fedsieve.load_result(out).recommend(["i105"], k=2).height == 2
    user = frame["who"][0]
    assert call(["recommend", "--run", str(out), "--user", str(user)]) == 0
    assert "Next, by sasrec" in capsys.readouterr().out
    with pytest.raises(fedsieve.RunError, match="holds a run on another log"):
        small(frame.head(200), out=out, resume=True, settings=settings)
    with pytest.raises(fedsieve.RunError, match="holds something else"):
        small(frame, out=small(out=tmp_path / "other").folder, settings=settings)


def test_a_column_that_is_missing_is_told() -> None:
    with pytest.raises(
        fedsieve.DataError, match=r"^frame: expected a user column and an item column; no user"
    ):
        fedsieve.load_log(pl.DataFrame({"a": [1]}))


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [one for one in page() if "pl.DataFrame(" in one]
    exec(compile(block, "docs/api.md", "exec"), {})
    said = capsys.readouterr().out
    assert "12 users, 9 items" in said
    assert "shape: (3, 4)" in said


def test_a_frame_that_is_no_log_blocks_no_folder(path: Path, tmp_path: Path) -> None:
    """The next try may be another frame, or other columns of it."""
    frame, out, settings = pl.read_csv(path), tmp_path / "run", {"data.columns": COLUMNS}
    with pytest.raises(fedsieve.DataError):
        small(frame.with_columns(when=pl.lit(float("nan"))), out=out, settings=settings)
    assert not (out / "log").exists()
    with pytest.raises(fedsieve.FedSieveError):
        small(frame, out=out, settings={**settings, "eval.targets": ["nobody"]})
    assert small(frame.head(-1), out=out, settings=settings).summary["evaluated_devices"]
