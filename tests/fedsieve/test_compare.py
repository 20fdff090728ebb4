"""``fedsieve.compare``: a grid as a mapping and as a file."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import fedsieve
from tests.experiments.compare.samples import SETTINGS, grid_file


def test_a_grid_from_a_mapping(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sieve = fedsieve.aggregators.Sieve()
    grid = {
        "strategies": ["mean", sieve, {"name": "krum", "neighbours": "byzfl"}],
        "attacks": ["control", fedsieve.attacks.Scaling(scale=5)],
        "set": SETTINGS,
    }
    found = fedsieve.compare(grid, tmp_path / "out", workers=2)
    assert capfd.readouterr() == ("", "")
    frame = found.frame
    assert set(frame["status"]) == {"done"}
    assert set(frame["aggregator"]) == {"mean", "sieve", "krum(neighbours=byzfl)"}
    assert set(frame["attack"]) == {"control", "scaling(scale=5)"}
    assert repr(found).startswith("Comparison(6 runs)\n")
    assert "sieve" in found._repr_html_()
    assert found.report.read_text().startswith("<!doctype html>")
    (drawn,) = found.plot().data
    best, attacks = list(drawn.y), list(drawn.x)
    clean = frame.filter(pl.col("attack") == "control")
    ndcg = dict(zip(clean["aggregator"], clean["test.ndcg@10"], strict=True))
    for row, rule in enumerate(best):
        assert drawn.z[row][attacks.index("control")] == pytest.approx(ndcg[rule] / ndcg["mean"])


def test_a_cell_that_fails_is_a_row(tmp_path: Path) -> None:
    path, out = grid_file(tmp_path, strategies=["mean"], attacks=["control"]), tmp_path / "out"
    cell = fedsieve.compare(path, tmp_path / "names").frame["cell"][0]
    (out / "cells").mkdir(parents=True)
    (out / "cells" / cell).write_text("a file where the cell's folder should be")
    found = fedsieve.compare(str(path), str(out))
    assert found.frame["status"].to_list() == ["failed"]
    assert found.frame["error"][0]
    assert repr(found).startswith("Comparison(1 run, 1 failed (column error))")
    with pytest.raises(fedsieve.RunError, match="has finished: nothing to draw"):
        found.plot()


def test_a_folder_without_a_grid_is_told(tmp_path: Path) -> None:
    with pytest.raises(fedsieve.RunError, match="no results in"):
        fedsieve.Comparison(tmp_path / "nowhere").plot()
    with pytest.raises(fedsieve.RunError, match="cannot read"):
        _ = fedsieve.Comparison(tmp_path / "nowhere").frame


def test_a_wrong_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fedsieve.ConfigError, match="grid: unknown setting colour; valid: configs"):
        fedsieve.compare({"colour": 1}, tmp_path)
    with pytest.raises(fedsieve.ConfigError, match="cannot read .*absent"):
        fedsieve.compare({"configs": ["absent.yaml"], "strategies": ["mean"]}, tmp_path)
    with pytest.raises(fedsieve.UnknownName, match="unknown aggregator 'krumm'"):
        fedsieve.compare({"strategies": ["krumm"], "attacks": ["control"], "set": SETTINGS}, tmp_path)
