"""A whole grid: its tables, and what is left when it is interrupted or a cell fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from common.errors import RunError
from experiments.cli import app
from experiments.compare.command import compare
from experiments.compare.dry import dry_run
from tests.experiments.compare.samples import SETTINGS, grid_file, screen

CLOCKED = ("seconds", "server_seconds", "device_updates_per_second", "peak_rss_mb")


def table(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "results.parquet").drop(CLOCKED)


def test_a_grid_ends_with_its_tables_and_is_not_computed_twice(tmp_path: Path) -> None:
    path, out = grid_file(tmp_path), tmp_path / "out"
    console, told = screen()
    assert compare(path, out, console, workers=2) == 0
    found = table(out)
    assert found.height == 4
    assert set(found["status"]) == {"done"}
    assert found["cell"].n_unique() == 4
    assert pl.read_csv(out / "results.csv").columns == pl.read_parquet(out / "results.parquet").columns
    assert "[4/4]" in told.getvalue()
    assert told.getvalue().count("warm-up") == 2
    assert (out / "floors.json").exists()
    console, told = screen()
    more = tmp_path / "more"
    more.mkdir()
    dry_run(grid_file(more, seeds=[0, 1]), out, console, workers=2)
    said = told.getvalue()
    assert (said.count("\ndone ") + said.startswith("done "), said.count("to do  ")) == (4, 4)
    assert "8 cells, 4 of them already in" in said
    assert "The honest rounds of 4 cells are shared: 2 warm-ups are still to do" in said
    assert re.search(
        r"About \S+ hours, 2 cells at a time: [\d,]+ device updates, from the 4 cells that are", said
    )
    cell = out / "cells" / found["cell"][0]
    assert (cell / "model.safetensors").exists()
    assert not (cell / "state").exists()
    kept = [*(out / "cells").rglob("*"), out / "floors.json"]
    before = {p: p.stat().st_mtime_ns for p in kept}
    console, told = screen()
    assert compare(path, out, console) == 0
    assert "4 cells, 4 of them already" in told.getvalue()
    assert {p: p.stat().st_mtime_ns for p in kept} == before
    assert set((out / "cells").rglob("*")) < set(kept)
    assert table(out).equals(found)


def test_a_grid_that_grows_computes_only_what_is_new(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compare(grid_file(tmp_path, strategies=["mean"], keep="results"), out, screen()[0])
    cell = next((out / "cells").glob("*/row.json")).parent
    assert not (cell / "model.safetensors").exists()
    console, told = screen()
    krum = {"aggregator": "krum", "label": "far"}
    compare(grid_file(tmp_path, strategies=["mean", krum]), out, console)
    assert "4 cells, 2 of them already" in told.getvalue()
    assert set(table(out).select("aggregator", "rule").rows()) == {("mean", "mean"), ("far", "krum")}
    assert table(out).height == 4


def test_a_failing_cell_is_told_and_stops_no_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = grid_file(tmp_path, strategies=["mean"], attacks=["control", "sign_flip", "zero"])
    console, told = screen()
    (out / "cells").mkdir(parents=True)
    compare(path, tmp_path / "names", screen()[0])
    names = pl.read_parquet(tmp_path / "names" / "results.parquet")
    victim = names.filter(pl.col("attack") == "sign_flip")["cell"][0]
    (out / "cells" / victim).write_text("a file where the cell's folder should be")
    assert compare(path, out, console) == 1
    rows = {row["attack"]: row for row in pl.read_parquet(out / "results.parquet").to_dicts()}
    assert rows["sign_flip"]["status"] == "failed"
    assert rows["sign_flip"]["error"]
    assert {rows[name]["status"] for name in ("control", "zero")} == {"done"}
    assert "failed: " in told.getvalue()


def test_killed_in_mid_grid_it_goes_on_to_the_same_table(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"attacks": ["control", "sign_flip", "zero"]}
    path = grid_file(tmp_path, **settings)
    whole, out = tmp_path / "whole", tmp_path / "out"
    compare(path, whole, screen()[0])
    command = [sys.executable, "-m", "experiments.cli", "compare", str(path), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 120
        # the tables too are there while it runs
        while len(list((out / "cells").glob("*/row.json"))) < 2 or not (out / "results.csv").exists():
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait()
    finally:
        running.kill()
        running.wait()
    finished = {p.parent.name for p in (out / "cells").glob("*/row.json")}
    assert 2 <= len(finished) < 6
    stamps = {name: (out / "cells" / name / "row.json").stat().st_mtime_ns for name in finished}
    console, told = screen()
    assert compare(path, out, console) == 0
    assert f"6 cells, {len(finished)} of them already" in told.getvalue()
    assert all((out / "cells" / n / "row.json").stat().st_mtime_ns == at for n, at in stamps.items())
    assert table(out).equals(table(whole))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="--out .*file"):
        compare(grid_file(tmp_path), tmp_path / "file" / "out", screen()[0])


def test_the_command_says_where_the_results_are(tmp_path: Path) -> None:
    path = grid_file(tmp_path, strategies=["mean"], attacks=["control"])
    result = CliRunner().invoke(app, ["compare", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "results.csv" in result.output


def test_a_warm_up_on_another_log_is_another_warm_up(tmp_path: Path) -> None:
    log, out = tmp_path / "log.csv", tmp_path / "out"
    settings = {**SETTINGS, "train.rounds": 4, "attack.start_round": 3}
    settings |= {"data.name": "own", "data.path": str(log)}
    path = grid_file(tmp_path, strategies=["mean"], set=settings)
    for shift in (0, 1):
        rows = [
            f"{user},{(user * (place + 2) + shift * place) % 30},{place}"
            for user in range(40)
            for place in range(8)
        ]
        log.write_text("\n".join(["user,item,time", *rows]))
        assert compare(path, out, screen()[0]) == 0
    assert len(list((out / "warmups").iterdir())) == 2


def test_a_dry_run_of_a_new_grid_measures_a_few_rounds_and_writes_nothing(tmp_path: Path) -> None:
    console, told = screen()
    dry_run(grid_file(tmp_path), tmp_path / "out", console, workers=1, seconds=0.01)
    assert "4 cells, 0 of them already in" in told.getvalue()
    assert re.search(r"About \S+ hours, 1 cells at a time: .* rounds of the first cell", told.getvalue())
    assert not (tmp_path / "out").exists()
