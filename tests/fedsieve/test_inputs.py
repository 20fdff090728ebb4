"""What a program hands over by mistake is told in one line, and what is the same in NumPy is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import fedsieve
from fedsieve.settings import plain
from tests.experiments.trained_run import log
from tests.fedsieve.samples import small


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> fedsieve.Result:
    folder = tmp_path_factory.mktemp("inputs")
    return small(log(folder), out=folder / "run")


FRAME = pl.DataFrame({"user": [1]})
GRID = {"strategies": ["mean"]}
Use = Callable[[Any], object]
WRONG: dict[str, tuple[Use, str]] = {
    "no log": (
        lambda r: fedsieve.run(None),
        "log: expected a name, a path, a frame, a Dataset or a RunConfig, found nothing",
    ),
    "a list as a log": (
        lambda r: fedsieve.load_log([1]),
        "log: expected a name, a path or a frame, found [1]",
    ),
    "a frame and a path": (
        lambda r: fedsieve.run(FRAME, settings={"data.path": "x.csv"}),
        "data.path: the log is given as a DataFrame; leave it out",
    ),
    "a frame by positions": (
        lambda r: fedsieve.load_log(FRAME, columns={"user": 1, "item": 2}),
        "data.columns: a frame has names; expected those, found positions",
    ),
    "an empty folder": (lambda r: fedsieve.run(out=""), "out: expected a path, found ''"),
    "a number as a folder": (lambda r: fedsieve.run(out=3), "out: expected a path, found 3"),  # type: ignore[arg-type]
    "settings in a list": (lambda r: fedsieve.run(settings=["a"]), "settings: expected a mapping"),  # type: ignore[arg-type]
    "a number as a setting": (lambda r: fedsieve.run(settings={3: 1}), "unknown setting '3'"),  # type: ignore[dict-item]
    "no listener": (lambda r: fedsieve.run(listeners=[3]), "listeners: expected objects with on_round"),  # type: ignore[list-item]
    "one listener": (lambda r: fedsieve.run(listeners=3), "listeners: expected objects with on_round"),  # type: ignore[arg-type]
    "a grid of none": (lambda r: fedsieve.compare(None, "x"), "grid: expected a path, found nothing"),  # type: ignore[arg-type]
    "results nowhere": (lambda r: fedsieve.compare(GRID, ""), "out: expected a path, found ''"),
    "a result of nowhere": (lambda r: fedsieve.load_result("a\0b"), "folder: expected a path"),
    "ids in one text": (lambda r: r.recommend("12"), "history: expected a list of item ids, found '12'"),
    "ids in bytes": (lambda r: r.recommend(b"12"), "history: expected a list of item ids"),
    "one id of numpy": (lambda r: r.recommend(np.array(12)), "history: expected a list of item ids"),
    "a number of no other kind": (lambda r: fedsieve.run(seed=np.longdouble(1)), "expected a number"),
    "one id": (lambda r: r.recommend(12), "history: expected a list of item ids, found 12"),
    "fewer than none": (lambda r: r.recommend(["i1"], k=-1), "k: expected a whole number from 1"),
    "none": (lambda r: r.recommend(["i1"], k=0), "k: expected a whole number from 1"),
    "half an item": (lambda r: r.recommend(["i1"], k=1.5), "k: expected a whole number from 1"),
    "one time": (lambda r: r.recommend(r._catalogue.ids[:1], times=5), "times: expected a list of seconds"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_told(
    what: str, result: fedsieve.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    use, told = WRONG[what]
    with pytest.raises(fedsieve.ConfigError) as error:
        use(result)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_numbers(result: fedsieve.Result) -> None:
    assert plain({"seed": np.int64(3), "shares": np.array([0.1, 0.5])}) == {"seed": 3, "shares": [0.1, 0.5]}
    ids = np.array(result._catalogue.ids[:2])
    assert result.recommend(ids, k=np.int64(2)).height == 2  # type: ignore[arg-type]
