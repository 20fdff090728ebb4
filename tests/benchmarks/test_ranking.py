"""The benchmark of full ranking."""

from __future__ import annotations

import pytest
import torch

from benchmarks import ranking


def test_it_measures_both(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert min(ranking.measure(80, 300, torch.device("cpu"))) > 0
    monkeypatch.setattr("sys.argv", ["ranking", "--items", "200", "9000", "--users", "70", "--device", "cpu"])
    ranking.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| 200", "| 9,000"]
