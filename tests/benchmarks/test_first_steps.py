"""The times of docs/start.md are those of the commands that the page shows."""

from __future__ import annotations

import re

import pytest

from benchmarks.first_steps import PAGE, about, walk, with_table
from benchmarks.marks import marked


def test_the_table_has_the_commands_of_the_page_from_the_install_to_the_comparison() -> None:
    page = PAGE.read_text(encoding="utf-8")
    commands, grid = walk(page)
    assert len(commands) == 5  # what the page promises
    assert (commands[0][:11], commands[-1][:16]) == ("pip install", "fedsieve compare")
    assert "strategies: [mean, sieve]" in grid
    table = marked(page, "times")
    assert re.findall(r"^\| `(.+)` \|", table, re.MULTILINE) == commands, "python -m benchmarks.first_steps"


def test_times_are_replaced_and_what_is_around_them_stays() -> None:
    page = "before\n<!-- times -->\nold\n<!-- end -->\nafter\n"
    spent = {"fedsieve data check my-log.csv": 2.83, "fedsieve compare grid.yaml": 57.0}
    made = with_table(page, spent, about("log.csv", 52_551, "nothing"))
    assert made.startswith("before\n<!-- times -->\n")
    assert made.endswith("<!-- end -->\nafter\n")
    assert "| `fedsieve data check my-log.csv` | 2.8 s |" in made
    assert "| together | 60 s |" in made
    assert "52,551 interactions" in made
    assert "old" not in made


def test_a_page_without_a_place_for_times_is_refused() -> None:
    with pytest.raises(ValueError, match="one table"):
        with_table("nothing", {}, "")
