"""Letters stay, what acts is escaped, and nothing is long."""

from __future__ import annotations

import json

import pytest

from common.printable import LIMIT, LONGEST, counted, json_text, printable, printable_lines, printable_log
from tests.common.hostile_text import ATTACKS, FORGED, HOSTILE, check_harmless

TITLES = (
    "Amélie (2001)",
    "千と千尋の神隠し",
    "Ёлки",
    "قصر",
    "हिन्दी",
    "🎬 Up",
    "a\\b",
    "R\u00a0&\u00a0B",
    "क्\u200dष",
)


def test_one_of_a_thing_is_no_plural() -> None:
    found = [counted(number, "warm node") for number in (0, 1, 1200)]
    assert found == ["0 warm nodes", "1 warm node", "1,200 warm nodes"]


@pytest.mark.parametrize("title", TITLES)
def test_titles_stay_as_they_are(title: str) -> None:
    assert printable(title) == title
    assert printable_lines(title) == title
    assert printable_log(title) == title


@pytest.mark.parametrize("name", ATTACKS)
def test_what_acts_is_escaped_and_cut(name: str) -> None:
    text = ATTACKS[name]
    found = printable(text)
    check_harmless(found, LIMIT + 30)
    assert "\n" not in found
    assert "PWNED" in found
    found.encode()  # a surrogate would raise, and so would printing it
    check_harmless(printable_log(text), LONGEST + 30)
    assert "\n" not in printable_log(text)


@pytest.mark.parametrize("name", ATTACKS)
def test_lines_after_the_first_are_marked(name: str) -> None:
    check_harmless(printable_lines(ATTACKS[name], mark="  | "), LONGEST + 30)


def test_what_is_cut_is_said() -> None:
    assert printable("abcd", 4) == "abcd"
    assert printable("abcde", 4) == "abcd... (5 long)"
    assert len(printable("\x1b" * 400)) < LIMIT + 30
    assert len(printable_lines("x\n" * 3_000_000)) < 5 * LONGEST


def test_of_many_lines_the_two_ends_stay() -> None:
    found = printable_lines("first\n" + "x\n" * 100_000 + "ValueError: last")
    assert found.startswith("first\n")
    assert found.endswith("ValueError: last")


def test_flowers_own_colours_go_and_others_show() -> None:
    assert printable_log("\x1b[92mINFO \x1b[0m:      round 1") == "INFO :      round 1"
    assert printable_log("\x1b[31mred") == "\\x1b[31mred"
    assert printable_log("\x1b[3\x1b[0m1m") == "\\x1b[31m"


@pytest.mark.parametrize("indent", [None, 2])
def test_json_says_the_same_and_acts_on_nothing(indent: int | None) -> None:
    value = {"a": [HOSTILE, "東京", FORGED], HOSTILE: 1, "s": "\ud800\U000e0041"}
    text = json_text(value, indent)
    assert json.loads(text) == value
    check_harmless(text, 10_000)
    assert "東京" in text
    text.encode()
