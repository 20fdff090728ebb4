"""A whole grid: its tables, and what is left when it is interrupted or a cell fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from common.errors import RunError
from experiments.cli import app
from experiments.compare.command import compare
from experiments.compare.dry import dry_run
from server.records.holding import hold
from tests.experiments.compare.samples import SETTINGS, grid_file, screen

CLOCKED = ("seconds", "server_seconds", "device_updates_per_second", "peak_rss_mb")


def table(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "results.parquet").drop(CLOCKED)


ATTACKS = ["control", "sign_flip", "zero"]
Whole = tuple[Path, Path, str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A grid of six cells, the folder where it was run to its end, and what it said."""
    folder = tmp_path_factory.mktemp("grid")
    path, out = grid_file(folder, attacks=ATTACKS), folder / "out"
    console, told = screen()
    assert compare(path, out, console, workers=2) == 0
    return path, out, told.getvalue()


@pytest.mark.parametrize(
    ("file", "what"),
    [("config.yaml", "a run"), ("recipe.json", "a centralised run"), ("leaderboard.html", "a leaderboard")],
)
def test_a_folder_of_something_else_takes_no_grid(file: str, what: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(RunError, match=f"holds {what}; choose another folder"):
        compare(grid_file(tmp_path, attacks=ATTACKS), tmp_path, screen()[0])
    assert not (tmp_path / "results.csv").exists()


def test_a_grid_ends_with_its_tables_and_is_not_computed_twice(whole: Whole, tmp_path: Path) -> None:
    path, out, said = whole
    found = table(out)
    assert found.height == 6
    assert set(found["status"]) == {"done"}
    assert found["cell"].n_unique() == 6
    assert pl.read_csv(out / "results.csv").columns == pl.read_parquet(out / "results.parquet").columns
    assert "[6/6]" in said
    assert said.count("warm-up") == 2
    assert (out / "floors.json").exists()
    console, told = screen()
    dry_run(grid_file(tmp_path, attacks=ATTACKS, seeds=[0, 1]), out, console, workers=2)
    said = told.getvalue()
    assert (said.count("\ndone ") + said.startswith("done "), said.count("to do  ")) == (6, 6)
    assert "12 cells, 6 of them already in" in said
    assert "The honest rounds of 6 cells are shared: 2 warm-ups are still to do" in said
    assert re.search(
        r"About \S+ (s|min), 2 cells at a time: [\d,]+ device updates, from the 6 cells that are", said
    )
    cell = out / "cells" / found["cell"][0]
    assert (cell / "model.safetensors").exists()
    assert not (cell / "state").exists()
    kept = [*(out / "cells").rglob("*"), out / "floors.json"]
    before = {p: p.stat().st_mtime_ns for p in kept}
    result = CliRunner().invoke(app, ["compare", str(path), "--out", str(out)])
    assert result.exit_code == 0
    assert "6 cells, 6 of them already" in result.output
    assert "results.csv" in result.output
    assert {p: p.stat().st_mtime_ns for p in kept} == before
    assert set((out / "cells").rglob("*")) < set(kept)
    assert table(out).equals(found)


def test_a_grid_that_grows_computes_only_what_is_new(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compare(grid_file(tmp_path, strategies=["mean"], attacks=["zero"], keep="results"), out, screen()[0])
    cell = next((out / "cells").glob("*/row.json")).parent
    assert not (cell / "model.safetensors").exists()
    console, told = screen()
    krum = {"aggregator": "krum", "label": "far"}
    compare(grid_file(tmp_path, strategies=["mean", krum], attacks=["zero"]), out, console)
    assert "2 cells, 1 of them already" in told.getvalue()
    assert set(table(out).select("aggregator", "rule").rows()) == {("mean", "mean"), ("far", "krum")}
    assert table(out).height == 2


def test_two_comparisons_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second would take the cells of the first for left-overs and remove them."""
    out = tmp_path / "out"
    monkeypatch.setattr("experiments.compare.command.hold", lambda folder: hold(folder, 0.0))
    lock = hold(out, 0.0)
    try:
        with pytest.raises(RunError, match="out is in use by another run"):
            compare(grid_file(tmp_path, strategies=["mean"], attacks=["control"]), out, screen()[0])
    finally:
        lock.release()


def test_a_grid_over_two_splits_reads_the_log_for_each(tmp_path: Path) -> None:
    """Cold targets and the floors are those of the cell's own split."""
    out = tmp_path / "out"
    path = grid_file(
        tmp_path, strategies=["mean"], attacks=["control"], vary={"eval.split": ["leave_one_out", "time"]}
    )
    assert compare(path, out, screen()[0]) == 0
    names = {"synthetic", "synthetic, split by time"}
    assert set(table(out)["data"]) == names
    floors = json.loads((out / "floors.json").read_text())
    assert set(floors) == names
    assert floors["synthetic"] != floors["synthetic, split by time"]


def test_what_a_stopped_cell_left_behind_its_row_is_removed_by_the_next_start(
    whole: Whole, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole[1], out)
    one, other, *_ = sorted((out / "cells").iterdir())
    (one / "state").mkdir()
    before = (one / "row.json").read_bytes()
    console, told = screen()
    assert compare(grid_file(tmp_path, attacks=ATTACKS, keep="results"), out, console) == 0
    assert "6 cells, 6 of them already" in told.getvalue()
    assert (one / "row.json").read_bytes() == before
    assert not (one / "state").exists()
    assert not (one / "model.safetensors").exists()
    assert (other / "model.safetensors").exists()  # it ended as it was to end: what it kept, it keeps


def test_a_failing_cell_is_told_and_stops_no_other(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = grid_file(tmp_path, strategies=["mean"], attacks=ATTACKS)
    console, told = screen()
    (out / "cells").mkdir(parents=True)
    names = table(whole[1]).filter(aggregator="mean", attack="sign_flip")["cell"]
    (out / "cells" / names.item()).write_text("a file where the cell's folder should be")
    assert compare(path, out, console) == 1
    rows = {row["attack"]: row for row in pl.read_parquet(out / "results.parquet").to_dicts()}
    assert rows["sign_flip"]["status"] == "failed"
    assert rows["sign_flip"]["error"]
    assert {rows[name]["status"] for name in ("control", "zero")} == {"done"}
    assert "failed: " in told.getvalue()


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130)])
def test_stopped_in_mid_grid_it_goes_on_to_the_same_table(
    whole: Whole, tmp_path: Path, number: int, status: int
) -> None:
    path, out = whole[0], tmp_path / "out"
    command = [sys.executable, "-m", "experiments.cli", "compare", str(path), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "said").open("w") as said:
        running = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        )
    try:
        end = time.monotonic() + 120
        # the tables too are there while it runs
        while len(list((out / "cells").glob("*/row.json"))) < 2 or not (out / "results.csv").exists():
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        running.send_signal(number)
        assert running.wait(60) == status
    finally:
        running.kill()
        running.wait()
    while number == signal.SIGTERM and alive(running.pid):  # what it started ends with it
        assert time.monotonic() < end
        time.sleep(0.02)
    finished = {p.parent.name for p in (out / "cells").glob("*/row.json")}
    assert 2 <= len(finished) < 6
    if number == signal.SIGTERM:
        told = f"{len(finished)} of 6 cells are done in {out}; the same command goes on with the others\n"
        assert (tmp_path / "said").read_text().endswith(f"{told}fedsieve: interrupted\n")
    stamps = {name: (out / "cells" / name / "row.json").stat().st_mtime_ns for name in finished}
    console, told = screen()
    assert compare(path, out, console) == 0
    assert f"6 cells, {len(finished)} of them already" in told.getvalue()
    assert all((out / "cells" / n / "row.json").stat().st_mtime_ns == at for n, at in stamps.items())
    assert table(out).equals(table(whole[1]))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="--out .*file"):
        compare(grid_file(tmp_path), tmp_path / "file" / "out", screen()[0])


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
    assert re.search(r"About \S+ (s|min), 1 cell at a time: .* rounds? of the first cell", told.getvalue())
    assert not (tmp_path / "out").exists()
