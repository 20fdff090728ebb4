"""The benchmark of several slices runs, and its columns add up."""

from __future__ import annotations

import pytest

from benchmarks import slices


def test_a_row_for_each_number_of_slices(capsys: pytest.CaptureFixture[str]) -> None:
    slices.main(["--quick"])
    printed = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed[3:]]
    assert [row[:3] for row in rows] == [["1", "16", "16"], ["4", "16", "64"], ["1", "64", "64"]]
    busy = [int(row[4].removesuffix("%")) for row in rows]
    assert busy[0] < busy[1]
    trained = [int(row[5]) for row in rows]
    assert trained[0] < trained[1] < trained[2]
