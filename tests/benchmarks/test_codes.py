"""The benchmark of code rows prints a row for each table."""

from __future__ import annotations

import pytest

from benchmarks import codes


def test_code_rows_are_fewer_and_cost_less_to_send(capsys: pytest.CaptureFixture[str]) -> None:
    codes.main(["--quick"])
    printed = capsys.readouterr().out.splitlines()
    own, shared = ([cell.strip() for cell in line.strip("|").split("|")] for line in printed[-2:])
    assert own[:3] == ["10,000", "own rows", "10,000"]
    assert shared[:3] == ["10,000", "4 x 31 codes", "124"]
    assert own[3] == shared[3]  # as many devices are busy
    for place in (4, 5):
        assert float(shared[place]) < float(own[place])
