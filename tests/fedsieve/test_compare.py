"""``fedsieve.compare``: a grid as a mapping and as a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import fedsieve
from tests.experiments.compare.samples import SETTINGS, grid_file

ROOT = Path(fedsieve.__file__).parents[1]
OWN = """
class Own(fedsieve.aggregators.Mean):
    "A rule of this script."

fedsieve.register(Own, "own")
"""
CALLS = """
from tests.experiments.compare.samples import SETTINGS
grid = {"strategies": [RULE], "attacks": ["control"], "set": SETTINGS}
print(*fedsieve.compare(grid, "out").frame["status"])
"""


def script(folder: Path, rule: str, head: str, guarded: bool) -> subprocess.CompletedProcess[str]:
    """A script that says with each import of it that it was imported, and compares."""
    calls = CALLS.replace("RULE", repr(rule))
    if guarded:
        calls = 'if __name__ == "__main__":\n' + "\n".join(f"    {line}" for line in calls.splitlines())
    told = "import fedsieve\nwith open('imports', 'a') as file:\n    print(__name__, file=file)\n"
    (folder / "mine.py").write_text(told + head + calls)
    return subprocess.run(
        [sys.executable, "mine.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def imports(folder: Path) -> list[str]:
    return (folder / "imports").read_text().split()


def test_a_script_without_components_is_not_imported_again(tmp_path: Path) -> None:
    told = script(tmp_path, "mean", "", guarded=False)
    assert (told.stdout, told.returncode) == ("done\n", 0), told.stderr
    assert imports(tmp_path) == ["__main__"]


def test_a_script_with_components_gives_them_to_the_workers(tmp_path: Path) -> None:
    told = script(tmp_path, "own", OWN, guarded=True)
    assert (told.stdout, told.returncode) == ("done\n", 0), told.stderr
    assert imports(tmp_path) == ["__main__", "__mp_main__"]


def test_without_a_guard_a_script_with_components_is_told_of_it_once(tmp_path: Path) -> None:
    told = script(tmp_path, "own", OWN, guarded=False)
    assert (told.stdout, told.returncode) == ("", 1)
    assert imports(tmp_path) == ["__main__", "__mp_main__"]
    assert told.stderr.count("Traceback") == 1  # of the script itself: its caller sees the error
    assert told.stderr.splitlines()[-1] == (
        "common.errors.RunError: no run of out ended (1 failed); the first: fedsieve.compare is called while "
        'a worker process imports the script; put the calls under if __name__ == "__main__":'
    )


def test_no_run_begins_in_a_worker_that_imports_the_script(tmp_path: Path) -> None:
    told = script(tmp_path, "own", f"{OWN}fedsieve.run('synthetic', rounds=1)\n", guarded=True)
    assert "fedsieve.run is called while a worker process imports the script" in told.stderr.splitlines()[-1]


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


def test_a_cell_that_fails_is_a_row_and_all_that_do_an_error(tmp_path: Path) -> None:
    path, out = grid_file(tmp_path, strategies=["mean"]), tmp_path / "out"
    cells = fedsieve.compare(path, tmp_path / "names").frame["cell"]
    (out / "cells").mkdir(parents=True)
    (out / "cells" / cells[0]).write_text("a file where the cell's folder should be")
    found = fedsieve.compare(str(path), str(out))
    assert found.frame["status"].to_list() == ["failed", "done"]
    assert found.frame["error"][0]
    assert repr(found).startswith("Comparison(2 runs, 1 failed (column error))")
    for cell in cells:
        shutil.rmtree(out / "cells" / cell, ignore_errors=True)
        (out / "cells" / cell).write_text("a file where the cell's folder should be")
    with pytest.raises(fedsieve.RunError, match=r"no run of .* ended \(2 failed\); the first: .") as error:
        fedsieve.compare(path, out)
    assert "\n" not in str(error.value)
    with pytest.raises(fedsieve.RunError, match="has finished: nothing to draw"):
        fedsieve.Comparison(out).plot()


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
