"""The benchmark of whole rounds runs and says what it could not measure."""

from __future__ import annotations

import pytest
import torch

from benchmarks import rounds


def test_a_row_for_each_rule(capsys: pytest.CaptureFixture[str]) -> None:
    rounds.main(["--quick"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("cpu: cpu")
    assert torch.cuda.is_available() or printed[1] == "cuda: NOT MEASURED, this machine has none"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed if "| 24 |" in line]
    assert [row[1] for row in rows if row[0] == "cpu"] == ["mean", "sieve"]
    for row in rows:
        assert 0 < float(row[4]) < 60
        assert 0 < int(row[5].removesuffix("%")) < 100
        assert float(row[6].replace(",", "")) > 0
