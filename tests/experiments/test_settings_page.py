"""The page of settings: whole, up to date, and its examples are valid."""

from __future__ import annotations

import pytest

from common.settings import load
from experiments.settings_page import EXAMPLES, PAGE, page, settings

ALONE = {"attack.active": ["attack.period=10"], "client.noise": ["client.clip=1.0"]}
"""What an example needs beside it."""


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m experiments.settings_page"


def test_every_setting_has_a_meaning_and_an_example() -> None:
    found = {one.key: one for one in settings()}
    assert [key for key, one in found.items() if not one.meaning] == []
    assert sorted(EXAMPLES) == sorted(found)


@pytest.mark.parametrize("key", EXAMPLES)
def test_the_example_is_valid(key: str) -> None:
    load(None, [*ALONE.get(key, []), f"{key}={EXAMPLES[key]}"])
