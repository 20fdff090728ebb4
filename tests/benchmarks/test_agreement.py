"""The published table of differences to oracles and peers."""

from __future__ import annotations

import pytest

from benchmarks.agreement import GIVEN, PAGE, ROWS
from tests.server.aggregators.oracles_registry import HELD


def rows() -> dict[str, list[str]]:
    """Name -> cells of the table in docs/agreement.md."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {name.removesuffix("*"): found for name, *found in cells[2:]}


def test_every_rule_is_in_the_table() -> None:
    assert list(rows()) == [*ROWS, *(f"{name}, `electorate: touched`" for name in HELD)]
    assert set(ROWS) >= GIVEN


@pytest.mark.parametrize("name", list(rows()))
def test_every_difference_is_one_of_rounding(name: str) -> None:
    found = [float(cell) for cell in rows()[name] if cell != "–"]
    assert found
    assert max(found) < 2e-6
