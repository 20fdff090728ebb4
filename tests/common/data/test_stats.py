"""The numbers of a log, against a log small enough to count by hand."""

from __future__ import annotations

import pytest

from common.data import load
from common.data.ragged import Ragged
from common.data.stats import stats

from .conftest import WriteLog


def test_counts(write_log: WriteLog) -> None:
    rows = ["1,a,1", "1,b,2", "1,a,2", "2,b,5", "2,c,9", "3,b,4"]
    s = stats(load("", str(write_log("log.csv", "user,item,time\n" + "\n".join(rows)))))
    assert (s.users, s.items, s.interactions, s.unrated, s.short) == (3, 3, 6, 0, 2)
    assert s.density == pytest.approx(6 / 9)
    assert (s.shortest, s.quartiles, s.longest) == (1, (1.5, 2.0, 2.5), 3)
    assert s.repeated == pytest.approx(1 / 6)
    assert s.tied_ends == pytest.approx(1 / 3)


def test_no_times_no_ties(write_log: WriteLog) -> None:
    assert stats(load("", str(write_log("log.txt", "1 a b\n2 c\n")))).tied_ends is None


def test_items_that_nobody_has() -> None:
    s = stats(load("synthetic", "devices=1,items=50,length=5"))
    assert s.unrated == 50 - s.interactions


@pytest.mark.parametrize("path", ["devices=30,items=40,length=9", "devices=30,items=20,interactions=300"])
def test_against_plain_python_a_few_devices_at_a_time(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = load("synthetic", path)
    monkeypatch.setattr(Ragged.chunks, "__defaults__", (25,))
    found, lists = stats(log), [one.tolist() for one in log.sequences]
    total = sum(map(len, lists))
    assert found.interactions == total
    assert found.repeated == pytest.approx(1 - sum(len(set(one)) for one in lists) / total)
    assert found.unrated == log.num_items - len({item for one in lists for item in one})
