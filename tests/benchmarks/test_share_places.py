"""What a share of malicious devices means on a log, and where its table stands."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.marks import marked, with_marked
from benchmarks.share_places import LOGS, PAGE, holders, place, table
from common.data import Dataset
from common.data.ragged import Ragged


def test_a_device_holds_an_item_once_and_what_is_held_out_does_not_count() -> None:
    flat = np.array([1, 1, 2, 3, 3, 2, 1, 1, 3], dtype=np.int32)
    log = Ragged.split(flat, np.array([5, 4]))
    dataset = Dataset("log", 4, log, np.arange(2), list("abcd"), ["u", "v"])
    assert holders(dataset).tolist() == [2, 2, 0, 0]


def test_the_place_is_after_all_items_that_more_devices_hold() -> None:
    held = np.array([9, 5, 5, 1])
    assert [place(count, held) for count in (10, 9, 6, 5, 1, 0)] == [1, 1, 2, 2, 4, 5]


def test_a_row_says_devices_and_place() -> None:
    made = table({"log": (200, np.array([30, 3, 1]))}, (0.01, 0.2))
    assert made.splitlines()[-1] == "| log | 200 | 3 | 30 | 2: place 3 | 40: place 1 |"


def test_the_page_has_a_row_for_each_log() -> None:
    shown = marked(PAGE.read_text(encoding="utf-8"), "places")
    assert all(f"| {log} |" in shown for log in LOGS), "run python -m benchmarks.share_places"


def test_an_empty_place_is_filled_and_filled_anew() -> None:
    page = "a\n<!-- places -->\n<!-- end -->\nb\n<!-- other -->\nx\n<!-- end -->\n"
    once = with_marked(page, "places", "one")
    assert once == page.replace("places -->\n", "places -->\n\none\n\n")
    assert with_marked(once, "places", "two") == once.replace("one", "two")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="one table"):
        with_marked("nothing", "places", "")
